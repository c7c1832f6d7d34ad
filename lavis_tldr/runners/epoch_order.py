"""Which samples a step trains on, and with which random numbers: by seed, epoch and place alone.

So a run that goes on in the middle of an epoch, with any number of loader workers, sees what an undisturbed one sees,
and ranks together see what one rank with the whole batch does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from lavis_tldr.datasets.unreadable import parts_of


class EpochOrder(Sampler[list[int]]):
    """Batch sampler: this rank's micro-batches of an epoch, from any place on.

    An epoch is a permutation by (seed, epoch). Micro-batch t of all ranks together is its t-th run of
    ``world_size * batch_size`` samples, and each rank takes its part of that run, in order of rank. What does not fill
    an update (``per_update`` micro-batches of all ranks) is left out, other samples each epoch.

    Args:
        num_samples: Size of the set.
        batch_size: Samples of a micro-batch on one rank.
        rank, world_size: This process among all.
        seed: Of the orders.
        per_update: Micro-batches an update.

    Raises:
        ValueError: If the set is too small for an update.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        per_update: int = 1,
    ):
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch, self.first = 0, 0
        self.num_batches = num_samples // (batch_size * world_size * per_update) * per_update
        if not self.num_batches:
            raise ValueError(
                f"The training set has {num_samples} samples, fewer than one update takes: {batch_size} "
                f"(run.batch_size_train) x {world_size} process(es) x {per_update} (run.accum_grad_iters) = "
                f"{batch_size * world_size * per_update}. Lower one of them, or check the path."
            )

    def start(self, epoch: int, first: int = 0) -> None:
        """Go to an epoch, and to its micro-batch ``first``."""
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        return self.num_batches - self.first

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(_mix(self.seed, self.epoch, 0))
        order = torch.randperm(self.num_samples, generator=generator)
        for batch in range(self.first, self.num_batches):
            start = (batch * self.world_size + self.rank) * self.batch_size
            yield order[start : start + self.batch_size].tolist()


class SeededSamples(Dataset):
    """A set whose samples' random numbers (crops, flips, drawn captions) are decided by seed, epoch and index.

    Python's, NumPy's and torch's generators are set before each sample, and put back behind it, so that loading in the
    main process leaves the model's random numbers as they are.

    Args:
        dataset: Any map-style set; it, or each of those that LAVIS has joined, learns of an epoch's beginning where it
            wants to (``set_epoch``).
        seed: Of the run.
    """

    def __init__(self, dataset: Dataset, seed: int):
        self.inner, self.seed, self.epoch = dataset, seed, 0

    def start(self, epoch: int) -> None:
        self.epoch = epoch
        for part in parts_of(self):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch, self.seed)

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int):
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        seed = _mix(self.seed, self.epoch, index + 1)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            return self.inner[index]
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.set_rng_state(before[2])


def _mix(*numbers: int) -> int:
    """One seed below 2^63 of several numbers."""
    words = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
    return int(words[0]) << 31 | int(words[1]) >> 1
