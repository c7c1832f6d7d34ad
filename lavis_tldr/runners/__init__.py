"""Runners and learning rate schedules; importing this registers them with LAVIS."""

from lavis_tldr.runners.lr_schedulers import LinearWarmupCosineSteps, LinearWarmupDecaySteps
from lavis_tldr.runners.runner_cpu import RunnerCPU
from lavis_tldr.runners.runner_pretrain import RunnerPretrain
from lavis_tldr.runners.runner_stages import RunnerStages
from lavis_tldr.runners.runner_tldr import RUN_KEYS, RunnerTLDR

__all__ = [
    "RUN_KEYS",
    "LinearWarmupCosineSteps",
    "LinearWarmupDecaySteps",
    "RunnerCPU",
    "RunnerPretrain",
    "RunnerStages",
    "RunnerTLDR",
]
