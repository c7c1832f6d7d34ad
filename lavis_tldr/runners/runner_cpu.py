"""``runner_cpu``: :class:`RunnerTLDR` on the CPU, whatever ``run.device`` says."""

import torch
from lavis.common.registry import registry

from lavis_tldr.runners.runner_tldr import RunnerTLDR


@registry.register_runner("runner_cpu")
class RunnerCPU(RunnerTLDR):
    """The runner for machines without CUDA: one process, or several of a gloo group."""

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")
