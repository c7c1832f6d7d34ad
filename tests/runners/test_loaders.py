"""Loaders of several ranks: their own random draws, and one rank's as ever."""

import pytest
import torch
from torch.utils.data import Dataset

from lavis_tldr.runners import loaders


class Draws(Dataset):
    """Each sample is a number drawn in the process that loads it."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.rand(())


@pytest.fixture
def drawn(monkeypatch):
    """What a rank of two draws in an epoch: ``drawn(rank, epoch)``."""

    def draw(rank: int, epoch: int) -> list[float]:
        monkeypatch.setattr(loaders, "get_rank", lambda: rank)
        monkeypatch.setattr(loaders, "get_world_size", lambda: 2)
        options = {"batch_size": 2, "num_workers": 1, "collate_fn": torch.stack, "cuda": False, "seed": 7}
        loader = loaders.train_loader(Draws(), **options)
        loaders.start_epoch(loader, 7, epoch)
        return torch.cat(list(loader)).tolist()

    return draw


def test_ranks_draw_otherwise_and_the_same_each_time(drawn):
    first, second = drawn(0, 0), drawn(1, 0)
    assert first != second and first != drawn(0, 1)
    assert second == drawn(1, 0)


def test_the_first_rank_draws_by_the_seed_itself(drawn):
    # A loader's workers are seeded with a number drawn from its generator, plus their own number.
    base = torch.empty((), dtype=torch.int64).random_(generator=torch.Generator().manual_seed(7 + 3)).item()
    expected = torch.Generator().manual_seed(base)
    assert drawn(0, 3) == torch.stack([torch.rand((), generator=expected) for _ in range(4)]).tolist()
