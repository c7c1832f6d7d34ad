"""Runners; importing this registers ``runner_tldr`` and ``runner_cpu`` with LAVIS."""

from lavis_tldr.runners.runner_cpu import RunnerCPU
from lavis_tldr.runners.runner_tldr import RUN_KEYS, RunnerTLDR

__all__ = ["RUN_KEYS", "RunnerCPU", "RunnerTLDR"]
