"""Training of small models over frozen features, for a fixed number of steps."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn


class StepOptions(Protocol):
    """How a model is trained.

    Attributes:
        num_steps: Updates.
        batch_size: Rows a step.
        learning_rate: Peak, reached after a tenth of the steps and decayed by half a cosine.
        weight_decay: Of AdamW.
    """

    num_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float


def train_steps(
    model: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    num_rows: int,
    options: StepOptions,
    generator: torch.Generator,
) -> None:
    """Train a model on rows of a set, shuffled in every pass over them; a last, smaller batch is left out.

    Args:
        model: What is trained.
        loss_of: Loss of a batch, given its rows, (batch size,), int64.
        num_rows: Rows in the set, at least a batch of them.
        options: How.
        generator: Of the order.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    order, used = torch.randperm(num_rows, generator=generator), 0
    for step in range(options.num_steps):
        if used + options.batch_size > num_rows:
            order, used = torch.randperm(num_rows, generator=generator), 0
        rows = order[used : used + options.batch_size]
        used += options.batch_size
        warm = min(1.0, (step + 1) / (0.1 * options.num_steps))
        rate = options.learning_rate * warm * 0.5 * (1 + np.cos(np.pi * step / options.num_steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
