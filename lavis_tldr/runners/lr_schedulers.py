"""``linear_warmup_cosine_steps``: warm-up and cosine decay counted in steps over the whole training.

LAVIS's own schedules warm up within the first epoch alone and then change once an epoch. On a reduced set,
whose epochs are short, the warm-up is cut off and the rate jumps; and a full and a reduced set trained for
the same number of steps see different rates, which spoils their comparison.
"""

import math

from lavis.common.registry import registry


@registry.register_lr_scheduler("linear_warmup_cosine_steps")
class LinearWarmupCosineSteps:
    """From ``warmup_start_lr`` linearly to ``init_lr``, then by half a cosine to ``min_lr``.

    Args:
        optimizer: Its every parameter group gets the rate.
        max_epoch: Number of epochs.
        min_lr: Rate at the end.
        init_lr: Rate after the warm-up.
        warmup_start_lr: Rate of the first step; negative: ``init_lr``.
        warmup_steps: Number of warm-up steps, at most all.

    ``iters_per_epoch`` is set by :class:`lavis_tldr.runners.RunnerTLDR`; other runners don't tell it.
    """

    iters_per_epoch: int = 0

    def __init__(self, optimizer, max_epoch, min_lr, init_lr, warmup_start_lr=-1.0, warmup_steps=0, **kwargs):
        self.optimizer = optimizer
        self.max_epoch = max_epoch
        self.min_lr = min_lr
        self.init_lr = init_lr
        self.warmup_start_lr = warmup_start_lr if warmup_start_lr >= 0 else init_lr
        self.warmup_steps = int(warmup_steps)

    def rate(self, step: int) -> float:
        """The learning rate at a step, counted from 0 over all epochs."""
        num_steps = self.max_epoch * self.iters_per_epoch
        if step < self.warmup_steps:
            return self.warmup_start_lr + (self.init_lr - self.warmup_start_lr) * step / self.warmup_steps
        share = min((step - self.warmup_steps) / max(num_steps - self.warmup_steps, 1), 1.0)
        return self.min_lr + (self.init_lr - self.min_lr) * 0.5 * (1 + math.cos(math.pi * share))

    def step(self, cur_epoch: int, cur_step: int) -> None:
        """Set the rate for step ``cur_step`` of epoch ``cur_epoch``."""
        if self.iters_per_epoch <= 0:
            raise ValueError(
                "run.lr_sched linear_warmup_cosine_steps needs to know the epoch's length. "
                "Use run.runner: runner_tldr or runner_cpu, or another run.lr_sched."
            )
        rate = self.rate(cur_epoch * self.iters_per_epoch + cur_step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
