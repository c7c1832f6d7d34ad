"""Means of a training's figures, gathered without making the device wait."""

from __future__ import annotations

import torch
from lavis.common.dist_utils import get_world_size

from lavis_tldr.models.collectives import all_reduce
from lavis_tldr.runners.updates import Figures


class RunningMeans:
    """Means of figures over all processes, since they were last taken and over the epoch; on their device until then.

    All processes take them together.
    """

    def __init__(self):
        self._epoch: Figures = {}
        self._recent: Figures = {}
        self._num_epoch = self._num_recent = 0

    def add(self, figures: Figures, lr: float) -> None:
        self._num_recent += 1
        for name, value in {**figures, "lr": torch.tensor(lr, dtype=torch.float64)}.items():
            self._recent[name] = self._recent[name] + value if name in self._recent else value.clone()

    def take(self) -> dict[str, float]:
        means = _means_of_all(self._recent, self._num_recent)
        for name, total in self._recent.items():
            self._epoch[name] = self._epoch[name] + total if name in self._epoch else total
        self._num_epoch += self._num_recent
        self._recent, self._num_recent = {}, 0
        return means

    def of_epoch(self) -> dict[str, float]:
        self.take()
        return _means_of_all(self._epoch, self._num_epoch)


def _means_of_all(sums: Figures, count: int) -> dict[str, float]:
    """Sums over ``count`` updates as means, and as means over the processes."""
    if not sums:
        return {}
    device = sums["loss"].device
    together = torch.stack([value.to(device, torch.float64) for value in sums.values()]) / max(count, 1)
    return dict(zip(sums, (all_reduce(together) / get_world_size()).tolist(), strict=True))
