"""One update of a model's weights, from one micro-batch or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Figures = dict[str, Tensor]


class Updater:
    """Forward, backward and optimizer step, with gradient accumulation, float16 or bfloat16, and clipping.

    The gradient is that of the mean of the micro-batches' losses, whatever their number; a model that says so
    (``caches_accumulation``: contrastive losses, whose negatives are the batch) gets that of all micro-batches' samples
    as one batch. Processes exchange gradients once an update.

    Args:
        task: Its ``train_figures(model, samples)``, or else the loss of its ``train_step``.
        model: In its DistributedDataParallel, or alone.
        optimizer: Steps once a call.
        scaler: For float16; None without.
        precision: Type of autocast for the forward passes, or None.
        max_grad_norm: Gradients are clipped to this norm before the step; 0 does not.
    """

    def __init__(self, task, model: nn.Module, optimizer, *, scaler=None, precision=None, max_grad_norm: float = 0.0):
        self.task, self.model, self.optimizer = task, model, optimizer
        self.module = model.module if isinstance(model, DistributedDataParallel) else model
        self.scaler, self.precision, self.max_grad_norm = scaler, precision, max_grad_norm
        self._trained = [p for group in optimizer.param_groups for p in group["params"]]

    def __call__(self, micro_batches: Sequence[Mapping[str, Any]]) -> Figures:
        """Update the weights once.

        Args:
            micro_batches: Samples, on the model's device.

        Returns:
            Mean over the micro-batches of each 0-dim figure that the model gives (``loss`` among them), and
            ``grad_norm``; on the device, without gradient.
        """
        if len(micro_batches) > 1 and getattr(self.module, "caches_accumulation", False):
            figures = self._cached(micro_batches)
        else:
            figures = self._summed(micro_batches)
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        limit = self.max_grad_norm if self.max_grad_norm > 0 else float("inf")
        figures["grad_norm"] = torch.nn.utils.clip_grad_norm_(self._trained, limit)
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.zero_grad()
        return figures

    def _summed(self, micro_batches: Sequence[Mapping[str, Any]]) -> Figures:
        sums: Figures = {}
        for number, samples in enumerate(micro_batches):
            with self._synchronized(number == len(micro_batches) - 1):
                with self._autocast():
                    figures = self._figures(samples)
                self._backward(figures["loss"] / len(micro_batches))
            for name, value in figures.items():
                sums[name] = sums.get(name, 0) + value.detach().float() / len(micro_batches)
        return sums

    def _cached(self, micro_batches: Sequence[Mapping[str, Any]]) -> Figures:
        from lavis_tldr.models.cached_accumulation import accumulate

        with self._autocast():
            figures = accumulate(self.model, self.module, micro_batches, self._backward)
        return {name: value.detach().float() for name, value in _scalars(figures).items()}

    def _figures(self, samples: Mapping[str, Any]) -> Figures:
        if hasattr(self.task, "train_figures"):
            return _scalars(self.task.train_figures(self.model, samples))
        return {"loss": self.task.train_step(self.model, samples)}

    def _backward(self, loss: Tensor) -> None:
        with torch.autocast(loss.device.type, enabled=False):
            (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def _synchronized(self, last: bool) -> AbstractContextManager:
        return nullcontext() if last or self.model is self.module else self.model.no_sync()

    def _autocast(self) -> AbstractContextManager:
        device = self._trained[0].device.type
        return torch.autocast(device, dtype=self.precision) if self.precision is not None else nullcontext()


def _scalars(output: Mapping[str, Any]) -> Figures:
    """The 0-dim tensors and plain numbers of a model's output."""
    figures = {}
    for name, value in output.items():
        if isinstance(value, Tensor) and value.ndim == 0:
            figures[name] = value
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            figures[name] = torch.tensor(float(value))
    return figures
