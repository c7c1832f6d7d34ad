"""Orders, places and random numbers of samples by seed and epoch."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from lavis_tldr.runners.epoch_order import EpochOrder, SeededSamples


def batches(epoch=0, first=0, num_samples=23, batch_size=3, **options):
    order = EpochOrder(num_samples, batch_size, **options)
    order.start(epoch, first)
    found = list(order)
    assert len(order) == len(found)
    return found


def test_an_epoch_has_each_sample_at_most_once_in_whole_batches():
    found = batches()
    assert [len(batch) for batch in found] == [3] * 7
    assert len(set(sum(found, []))) == 21


def test_epochs_and_seeds_have_orders_of_their_own_and_keep_them():
    assert batches() == batches()
    assert len({str(batches(epoch=epoch, seed=seed)) for epoch in range(3) for seed in range(3)}) == 9


def test_an_epoch_goes_on_from_any_place():
    assert batches(epoch=2, first=4) == batches(epoch=2)[4:]


def test_ranks_together_see_the_batches_of_one():
    alone = batches(batch_size=6)
    ranks = [batches(rank=rank, world_size=2) for rank in range(2)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == alone


def test_what_does_not_fill_an_update_is_left_out():
    assert len(batches(per_update=2)) == 6  # 23 // (3 * 2) = 3 updates
    assert batches(per_update=2) == batches()[:6]


def test_a_set_smaller_than_an_update_is_refused_with_the_numbers():
    with pytest.raises(ValueError, match=r"23 samples.*8 .*x 2 process.*x 2 .*= 32"):
        EpochOrder(23, 8, world_size=2, per_update=2)


class Draws(Dataset):
    """A sample is what each generator draws."""

    def __init__(self):
        self.epochs = []

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    def set_epoch(self, epoch, seed):
        self.epochs.append((epoch, seed))


def test_a_sample_draws_by_seed_epoch_and_index_alone():
    samples = SeededSamples(Draws(), seed=5)
    samples.start(1)
    found = [samples[index] for index in (0, 1, 0)]
    assert found[0] == found[2] != found[1]
    assert len({len(set(column)) for column in zip(*found, strict=True)} - {2}) == 0  # each of the three generators
    samples.start(2)
    assert samples[0] != found[0]
    assert SeededSamples(Draws(), seed=6)[0] != SeededSamples(Draws(), seed=5)[0]
    assert samples.inner.epochs == [(1, 5), (2, 5)]


def test_the_generators_of_the_process_are_left_as_they_were():
    def draw():
        return Draws()[0]

    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    expected = draw()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    _ = SeededSamples(Draws(), seed=5)[2]
    assert draw() == expected
