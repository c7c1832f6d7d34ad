"""Temporary changes around a LAVIS task's work that its own code has no option for."""

import importlib
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.distributed as dist
from lavis.common.logger import SmoothedValue

from lavis_tldr.codebook.precision import matmul_precision
from lavis_tldr.log import verbosity

# Modules of LAVIS that print, on every start and epoch, what is of use to who looks for a fault at most.
_PRINTING = ("lavis.models.blip_models", "lavis.models.vit", "lavis.tasks.base_task")
MATMUL_PRECISIONS = ("highest", "high", "medium")
_METERS = "lavis.common.logger"  # prints every some steps how far an epoch has come


@contextmanager
def prints_logged() -> Iterator[None]:
    """Let LAVIS log what it prints of weights it ties and resizes and of results; its meters print on unless quiet."""
    names = [*_PRINTING, *([_METERS] if verbosity() == "quiet" else [])]
    modules = [importlib.import_module(name) for name in names]
    for module in modules:
        module.print = _logs_to(logging.getLogger(module.__name__))
    try:
        yield
    finally:
        for module in modules:
            del module.print


def _logs_to(logger: logging.Logger):
    def log(*values) -> None:
        logger.info(" ".join(map(str, values)))

    return log


@contextmanager
def train_steps_in_bf16(task, device_type: str) -> Iterator[None]:
    """Run ``task.train_step`` under bfloat16 autocast.

    The step itself is wrapped, not the epoch: BaseTask switches CUDA's autocast off around every step when
    there is no gradient scaler (bfloat16 needs none), and the backward pass does not belong under autocast.
    """
    step = task.train_step

    def train_step(*args, **kwargs):
        with torch.autocast(device_type, dtype=torch.bfloat16):
            return step(*args, **kwargs)

    task.train_step = train_step
    try:
        yield
    finally:
        del task.train_step


def matmul_precision_of(run_cfg) -> AbstractContextManager[None]:
    """The precision that ``run.matmul_precision`` asks for, where it is set.

    Raises:
        ValueError: If it is none of PyTorch's.
    """
    name = run_cfg.get("matmul_precision")
    if name is None:
        return nullcontext()
    if name not in MATMUL_PRECISIONS:
        raise ValueError(
            f"run.matmul_precision is {name!r}; expected one of {', '.join(MATMUL_PRECISIONS)} (high: TF32 on a GPU)."
        )
    return matmul_precision(name)


@contextmanager
def meters_synchronized_on(device: torch.device) -> Iterator[None]:
    """Let LAVIS's meters sum over the processes on ``device``; theirs always allocate on CUDA."""
    original = SmoothedValue.synchronize_between_processes

    def synchronize(meter: SmoothedValue) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            return
        totals = torch.tensor([meter.count, meter.total], dtype=torch.float64, device=device)
        dist.all_reduce(totals)
        meter.count, meter.total = int(totals[0].item()), totals[1].item()

    SmoothedValue.synchronize_between_processes = synchronize
    try:
        yield
    finally:
        SmoothedValue.synchronize_between_processes = original
