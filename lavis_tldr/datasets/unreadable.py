"""Images that can't be read: a few are named, all are counted, and listed in a file of the run.

Loader workers are copies of the main process, made anew for every epoch. What a worker meets goes back beside the batch
(`NotingCollater`, `ListeningLoader`); the batch itself stays as it is.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, get_worker_info

from lavis_tldr.files import write_whole
from lavis_tldr.log import rank

logger = logging.getLogger(__name__)

LIST = "unreadable.tsv"
_NAMED = 3
_ENCODED = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}


class Met(NamedTuple):
    """An image that a loader worker could not read: its index in the set, its key, and why."""

    index: int
    key: str
    reason: str


class UnreadableTally:
    """Names the first images that can't be read in the log, and keeps all of them to be counted and listed.

    Args:
        consequence: What becomes of such an image, for the warnings.
    """

    def __init__(self, consequence: str):
        self.consequence = consequence
        self._count = torch.zeros(1, dtype=torch.int64)
        self._keys: set[str] = set()
        self._untold: dict[str, str] = {}

    def add(self, key: str, reason: object) -> int:
        """Count an image; how many there are now, or 0 if it was counted before."""
        if key in self._keys:
            return 0
        self._keys.add(key)
        self._untold[key] = str(reason)
        self._count += 1
        count = int(self._count)
        more = " Further ones are only counted." if count == _NAMED else ""
        level = logging.WARNING if count <= _NAMED and rank() == 0 else logging.DEBUG
        logger.log(level, "%s: %s; %s.%s", key, reason, self.consequence, more)
        return count

    def take_untold(self) -> dict[str, str]:
        """Reason by key of the images counted since this was last called."""
        untold, self._untold = self._untold, {}
        return untold


class UnreadableImages(UnreadableTally):
    """The tally of a set that loader workers read.

    Which images are known lies in memory that workers share, so that each is told once, not once a worker or epoch.

    Args:
        num_images: Size of the set.
        consequence: As `UnreadableTally` takes it.

    Attributes:
        heard: Whether the main process takes what workers met, through a `ListeningLoader`. If not (a runner of
            LAVIS's own), workers say how many there are by now at the 10th, 100th, 1000th ... image.
    """

    def __init__(self, num_images: int, consequence: str):
        super().__init__(consequence)
        self.heard = False
        self._count.share_memory_()
        self._known = torch.zeros(num_images, dtype=torch.bool).share_memory_()
        self._met: dict[int, Met] = {}  # by this worker
        self._handed_over = 0

    @property
    def num_images(self) -> int:
        return len(self._known)

    def meet(self, index: int, key: str, reason: object) -> None:
        """An image could not be read, in a worker or in the main process."""
        if bool(self._known[index]) or index in self._met:
            return
        met = Met(index, key, str(reason))
        if self.heard and get_worker_info() is not None:
            self._met[index] = met
        else:
            self.receive([met])

    def hand_over(self) -> list[Met]:
        """What this worker has met since it was last asked."""
        fresh = list(self._met.values())[self._handed_over :]
        self._handed_over += len(fresh)
        return fresh

    def receive(self, images: Iterable[Met]) -> None:
        """Count what a worker has handed over; several workers may have met the same."""
        for image in images:
            if self._known[image.index]:
                continue
            self._known[image.index] = True
            count = self.add(image.key, image.reason)
            if not self.heard and count >= 10 and str(count).strip("0") == "1":
                logger.warning("%s images can't be read so far; %s.", f"{count:,}", self.consequence)


class NotingCollater:
    """Puts beside each batch what the worker that made it has met, one list for each set."""

    def __init__(self, collate: Callable[[list], Any], sets: list[UnreadableImages]):
        self._collate, self._sets = collate, sets

    def __call__(self, samples: list) -> tuple[Any, list[list[Met]]]:
        return self._collate(samples), [images.hand_over() for images in self._sets]


class ListeningLoader(DataLoader):
    """A DataLoader whose sets' `UnreadableImages` learn in the main process what the workers met.

    Args:
        dataset: A set, or several that LAVIS has joined; those without `UnreadableImages` are left as they are.
        collate_fn: As DataLoader takes it.
        options: As DataLoader takes them.
    """

    def __init__(self, dataset: Dataset, *, collate_fn: Callable[[list], Any], **options):
        self._sets = unreadable_of(dataset)
        for images in self._sets:
            images.heard = True
        super().__init__(dataset, collate_fn=NotingCollater(collate_fn, self._sets), **options)

    def __iter__(self) -> Iterator[Any]:
        return self._listen(super().__iter__())  # begun at once: DataLoader draws from its generator here

    def _listen(self, batches: Iterator[tuple[Any, list[list[Met]]]]) -> Iterator[Any]:
        for batch, met in batches:
            for images, fresh in zip(self._sets, met, strict=True):
                images.receive(fresh)
            yield batch


def parts_of(dataset: Dataset) -> list[Dataset]:
    """The sets that LAVIS has joined into one; it does so with a single one, too.

    A set that wraps another has it as ``inner``.
    """
    dataset = getattr(dataset, "inner", dataset)
    return list(dataset.datasets) if isinstance(dataset, ConcatDataset) else [dataset]


def unreadable_of(dataset: Dataset) -> list[UnreadableImages]:
    """The tally of a set, or of each of several joined ones; of LAVIS's own sets, which keep none, nothing."""
    found = [getattr(part, "unreadable", None) for part in parts_of(dataset)]
    return [images for images in found if isinstance(images, UnreadableImages)]


def tell(images: Mapping[str, str], num_samples: int, path: Path) -> None:
    """Add images to a list of those that can't be read, and say how many it holds; nothing where there are none.

    The list has a line ``key, reason`` for each, with tabs between, in order of key; an image that it has already keeps
    its line.

    Args:
        images: Reason by key of those counted since this was last called, by all processes.
        num_samples: How many samples they are among.
        path: The list, `LIST` in a folder that tells what it is about.
    """
    if not images:
        return
    rows = {**images, **_read_list(path)}
    with write_whole(path) as temporary, open(temporary, "w", **_ENCODED) as file:
        writer = csv.writer(file, csv.excel_tab, lineterminator="\n")
        writer.writerows([("key", "reason"), *sorted(rows.items())])
    logger.warning(
        "%s images can't be read, in %s samples; all are listed in %s", f"{len(rows):,}", f"{num_samples:,}", path
    )


def _read_list(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with open(path, **_ENCODED) as file:
        _, *rows = csv.reader(file, csv.excel_tab)
    return dict(rows)
