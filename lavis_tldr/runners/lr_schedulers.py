"""Learning rate schedules counted in steps over the whole training: ``linear_warmup_cosine_steps``,
``linear_warmup_linear_steps``, and ``linear_warmup_decay_steps``, which falls by a factor so many times.

LAVIS's own schedules warm up within the first epoch alone and then change once an epoch. On a reduced set,
whose epochs are short, the warm-up is cut off and the rate jumps; and a full and a reduced set trained for
the same number of steps see different rates, which spoils their comparison.
"""

import math
from abc import ABC, abstractmethod

from lavis.common.registry import registry


class _BySteps(ABC):
    """From ``warmup_start_lr`` linearly to ``init_lr``, then as the class says, never below ``min_lr``.

    Args:
        optimizer: Its every parameter group gets the rate.
        max_epoch: Number of epochs.
        min_lr: Rate at the end.
        init_lr: Rate after the warm-up.
        decay_rate: Factor of a decay.
        warmup_start_lr: Rate of the first step; negative: ``init_lr``.
        warmup_steps: Number of warm-up steps, at most all. They may be more than an epoch has.

    ``iters_per_epoch`` is set by :class:`lavis_tldr.runners.RunnerTLDR`; other runners don't tell it. ``num_steps``, if
    it is set, is the number of steps whatever the epochs are.
    """

    name: str
    iters_per_epoch: int = 0
    num_steps: int = 0

    def __init__(
        self, optimizer, max_epoch, min_lr, init_lr, decay_rate=None, warmup_start_lr=-1.0, warmup_steps=0, **kwargs
    ):
        self.optimizer = optimizer
        self.max_epoch = max_epoch
        self.min_lr = min_lr
        self.init_lr = init_lr
        self.decay_rate = decay_rate
        self.warmup_start_lr = warmup_start_lr if warmup_start_lr >= 0 else init_lr
        self.warmup_steps = int(warmup_steps)

    @property
    def all_steps(self) -> int:
        return self.num_steps or self.max_epoch * self.iters_per_epoch

    def rate(self, step: int) -> float:
        """The learning rate at a step, counted from 0 over all epochs."""
        if step < self.warmup_steps:
            return self.warmup_start_lr + (self.init_lr - self.warmup_start_lr) * step / self.warmup_steps
        return self._rate_after_warmup(step)

    def _share_after_warmup(self, step: int) -> float:
        """How much of what follows the warm-up is over, in [0, 1]."""
        return min((step - self.warmup_steps) / max(self.all_steps - self.warmup_steps, 1), 1.0)

    @abstractmethod
    def _rate_after_warmup(self, step: int) -> float: ...

    def step(self, cur_epoch: int, cur_step: int) -> None:
        """Set the rate for step ``cur_step`` of epoch ``cur_epoch``."""
        if self.iters_per_epoch <= 0:
            raise ValueError(
                f"run.lr_sched {self.name} needs to know the epoch's length. "
                "Use run.runner: runner_tldr, runner_cpu or runner_pretrain, or another run.lr_sched."
            )
        rate = self.rate(cur_epoch * self.iters_per_epoch + cur_step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate


@registry.register_lr_scheduler("linear_warmup_cosine_steps")
class LinearWarmupCosineSteps(_BySteps):
    """After the warm-up by half a cosine to ``min_lr``."""

    name = "linear_warmup_cosine_steps"

    def _rate_after_warmup(self, step: int) -> float:
        cosine = math.cos(math.pi * self._share_after_warmup(step))
        return self.min_lr + (self.init_lr - self.min_lr) * 0.5 * (1 + cosine)


@registry.register_lr_scheduler("linear_warmup_linear_steps")
class LinearWarmupLinearSteps(_BySteps):
    """After the warm-up in a straight line to ``min_lr``, as ViLT is fine-tuned."""

    name = "linear_warmup_linear_steps"

    def _rate_after_warmup(self, step: int) -> float:
        return self.init_lr + (self.min_lr - self.init_lr) * self._share_after_warmup(step)


@registry.register_lr_scheduler("linear_warmup_decay_steps")
class LinearWarmupDecaySteps(_BySteps):
    """After the warm-up ``init_lr`` times ``decay_rate`` to the number of decays so far (paper, section 4.1: 0.85).

    ``num_decays`` of them, evenly spread over all steps, the first part of the training being without: one an epoch,
    unless `RunnerPretrain` is told otherwise. So trainings with epochs of unlike length can share a curve.
    """

    name = "linear_warmup_decay_steps"
    num_decays: int = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.decay_rate is None or not 0 < self.decay_rate <= 1:
            raise ValueError(
                f"run.lr_decay_rate is {self.decay_rate}; run.lr_sched {self.name} expects a factor in (0, 1], such as "
                "0.85."
            )

    def _rate_after_warmup(self, step: int) -> float:
        parts = self.num_decays or self.max_epoch
        decays = min(step * parts // max(self.all_steps, 1), parts - 1)
        return max(self.init_lr * self.decay_rate**decays, self.min_lr)
