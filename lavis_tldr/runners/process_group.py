"""Sets up torch.distributed for a run, with or without CUDA, with or without torch.distributed.run.

LAVIS's own set-up needs CUDA, and its runner calls barriers unguarded, so a group is made in every case: a
lone process gets a group of one, held in memory, which needs no port and no file.
"""

from __future__ import annotations

import datetime
import os
from contextlib import contextmanager

import torch.distributed as dist
from lavis.common.dist_utils import init_distributed_mode, setup_for_distributed


def is_launched_distributed() -> bool:
    """Whether torch.distributed.run (or its like) started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def process_group(run_cfg):
    """A process group for the time of a run; one that exists already is used and left alone.

    Args:
        run_cfg: The config's ``run`` section, its ``device`` resolved to "cuda..." or "cpu". Set here as
            LAVIS's runners expect: ``rank``, ``world_size``, ``gpu``, ``distributed``, ``dist_backend``.

    Raises:
        ValueError: If Slurm started several processes that do not know of each other.
    """
    if dist.is_initialized():
        _describe(run_cfg, dist.get_rank(), dist.get_world_size(), dist.get_backend())
        yield
        return
    on_cuda = str(run_cfg.device).startswith("cuda")
    if is_launched_distributed():
        _join(run_cfg, on_cuda)
        yield
        # Not after an exception: under NCCL this waits for the other processes, which wait for this one in some
        # collective, before anyone has seen the message. The exception ends this process, and the launcher the others.
        dist.destroy_process_group()
        return
    _refuse_srun()
    backend = "cpu:gloo,cuda:nccl" if on_cuda and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    _describe(run_cfg, 0, 1, backend)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _refuse_srun() -> None:
    """Each of srun's tasks would take itself for the only one, and all would write the same checkpoints."""
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS") or os.environ.get("SLURM_NTASKS") or "1"
    if tasks.isdecimal() and int(tasks) > 1:
        raise ValueError(
            f"Slurm has started {tasks} tasks, but nothing tells this process its rank (RANK and WORLD_SIZE are not "
            "set), so each task would run the whole job. Start one task a node, and in it the processes: srun "
            "--ntasks-per-node=1 python -m torch.distributed.run --nproc_per_node=GPUS ... -m lavis_tldr.train ...; "
            "for a single process in a larger allocation: srun --ntasks=1."
        )


def _join(run_cfg, on_cuda: bool) -> None:
    """Join the group that torch.distributed.run describes in the environment."""
    if on_cuda:
        run_cfg.setdefault("dist_url", "env://")
        init_distributed_mode(run_cfg)
        return
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group(
        "gloo", init_method="env://", rank=rank, world_size=world_size, timeout=datetime.timedelta(hours=24)
    )
    _describe(run_cfg, rank, world_size, "gloo")
    setup_for_distributed(rank == 0)


def _describe(run_cfg, rank: int, world_size: int, backend: str) -> None:
    run_cfg.rank, run_cfg.world_size, run_cfg.dist_backend = rank, world_size, str(backend)
    run_cfg.gpu = int(os.environ.get("LOCAL_RANK", 0))
    run_cfg.distributed = is_launched_distributed() or world_size > 1
