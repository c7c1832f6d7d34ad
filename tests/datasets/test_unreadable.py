"""Unreadable images: told once whichever process met them, none lost, and batches as they would be without."""

import csv
import logging

import numpy as np
import pytest
import torch
from lavis.datasets.datasets.base_dataset import ConcatDataset
from torch.utils.data import DataLoader, Dataset, default_collate

from lavis_tldr.datasets.unreadable import LIST, ListeningLoader, UnreadableImages, UnreadableTally, tell, unreadable_of


class Numbers(Dataset):
    """0 to n - 1; those of ``bad`` can't be read, and the next stands in."""

    def __init__(self, n: int, bad: set[int], name: str = "n"):
        self.n, self.bad, self.name = n, bad, name
        self.unreadable = UnreadableImages(n, "the next stands in")

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        for number in range(index, index + self.n):
            if number % self.n not in self.bad:
                return {"x": torch.tensor(number % self.n), "noise": torch.rand(())}
            self.unreadable.meet(number % self.n, f"{self.name}{number % self.n}", "broken")
        raise ValueError("none")

    def collater(self, samples):
        return default_collate(samples)


def loader(dataset, kind=ListeningLoader, **options):
    options = {"batch_size": 4, "shuffle": True, "generator": torch.Generator().manual_seed(3)} | options
    return kind(dataset, collate_fn=dataset.collater, **options)


def warnings_of(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture(params=[{}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}], ids=str)
def workers(request):
    return request.param


def test_batches_are_those_of_a_plain_loader(workers):
    batches = []
    for kind in (DataLoader, ListeningLoader):
        torch.manual_seed(7)
        batches.append([batch for epoch in range(2) for batch in loader(Numbers(32, {3, 4, 20}), kind, **workers)])
    assert len(batches[0]) == len(batches[1]) == 16
    for plain, listening in zip(*batches, strict=True):
        assert plain.keys() == listening.keys() == {"x", "noise"}
        assert torch.equal(plain["x"], listening["x"]) and torch.equal(plain["noise"], listening["noise"])


def test_each_is_told_once_over_workers_and_epochs(workers, caplog):
    bad = {0, 5, 6, 17, 30}
    dataset = Numbers(32, bad)
    batches = loader(dataset, **workers)
    assert len(list(batches)) == 8
    assert dataset.unreadable.take_untold() == {f"n{number}": "broken" for number in bad}
    for _ in range(2):
        assert len(list(batches)) == 8
        assert dataset.unreadable.take_untold() == {}
    told = warnings_of(caplog)
    assert len(told) == 3  # of five
    assert all(message.endswith("; the next stands in.") for message in told[:2])
    assert told[2].endswith("; the next stands in. Further ones are only counted.")


def test_what_later_epochs_meet_is_added(caplog):
    dataset = Numbers(32, {1})
    batches = loader(dataset, num_workers=1)
    list(batches)
    dataset.bad = {1, 2}
    assert dataset.unreadable.take_untold() == {"n1": "broken"}
    list(batches)
    assert dataset.unreadable.take_untold() == {"n2": "broken"}


def test_joined_sets_keep_their_own(workers):
    first, plain, second = Numbers(8, {1}, "a"), Numbers(8, {2}, "b"), Numbers(8, {3}, "c")
    del plain.unreadable
    plain.bad = set()
    joined = ConcatDataset([first, plain, second])
    assert len(list(loader(joined, **workers))) == 6
    assert unreadable_of(joined) == [first.unreadable, second.unreadable]
    assert first.unreadable.take_untold() == {"a1": "broken"}
    assert second.unreadable.take_untold() == {"c3": "broken"}


def test_spawned_workers_hand_over_too():
    dataset = Numbers(8, {1, 6})
    assert len(list(loader(dataset, num_workers=1, multiprocessing_context="spawn"))) == 2
    assert dataset.unreadable.take_untold() == {"n1": "broken", "n6": "broken"}


def test_without_a_listener_workers_share_what_they_know():
    dataset = Numbers(64, set(range(0, 40, 2)))
    for _ in range(2):
        list(loader(dataset, DataLoader, num_workers=2))
    assert int(dataset.unreadable._known.sum()) == 20
    # Two workers may meet one at the same moment, and both count it.
    assert 20 <= int(dataset.unreadable._count) <= 24


def test_without_a_listener_numbers_are_told_at_powers_of_ten(caplog):
    dataset = Numbers(64, set(range(25)))
    list(loader(dataset, DataLoader))
    told = warnings_of(caplog)
    assert len(told) == 4
    assert told[3] == "10 images can't be read so far; the next stands in."


def test_images_with_several_samples_count_once(caplog):
    images = UnreadableImages(3, "it is left out")
    for index in range(3):
        images.meet(index, "one.jpg", "broken")
    assert images.take_untold() == {"one.jpg": "broken"}
    assert warnings_of(caplog) == ["one.jpg: broken; it is left out."]


def test_other_ranks_name_none(monkeypatch, caplog):
    monkeypatch.setenv("RANK", "1")
    tally = UnreadableTally("it is left out")
    assert [tally.add("a", "x"), tally.add("a", "x"), tally.add("b", "y")] == [1, 0, 2]
    assert warnings_of(caplog) == []
    assert tally.take_untold() == {"a": "x", "b": "y"}


def test_list_is_added_to_and_counted(tmp_path, caplog):
    path = tmp_path / LIST
    tell({}, 10, path)
    assert not path.exists() and caplog.text == ""
    tell({"z": "late", "with\ttab\nand line": 'a "reason"'}, 1000, path)
    tell({"z": "otherwise", "a\udcff": "not UTF-8"}, 1000, path)
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.reader(file, csv.excel_tab))
    assert rows == [["key", "reason"], ["a\udcff", "not UTF-8"], ["with\ttab\nand line", 'a "reason"'], ["z", "late"]]
    assert warnings_of(caplog) == [
        f"2 images can't be read, in 1,000 samples; all are listed in {path}",
        f"3 images can't be read, in 1,000 samples; all are listed in {path}",
    ]


def test_the_order_of_draws_is_kept_between_iterators():
    """A loader draws its workers' seed from its generator when iteration begins, not at the first batch."""
    dataset = Numbers(8, set())
    states = []
    for kind in (DataLoader, ListeningLoader):
        generator = torch.Generator().manual_seed(3)
        iter(loader(dataset, kind, generator=generator))
        states.append(generator.get_state().numpy())
    assert np.array_equal(*states)
