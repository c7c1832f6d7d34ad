"""Process groups: what becomes of the other ranks when one fails, and of tasks that Slurm started."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch.distributed as dist

import lavis_tldr
from lavis_tldr.runners.process_group import process_group

REPOSITORY = Path(lavis_tldr.__file__).parents[1]
# A rank of two. Under NCCL, destroying a group waits for the other rank: gloo's does not, so the wait is put in its
# place here.
RANK_THAT_FAILS = """
import time, torch.distributed as dist
from types import SimpleNamespace
from lavis_tldr.runners.process_group import process_group
from lavis_tldr.user_errors import run_command

dist.destroy_process_group = lambda: time.sleep(3600)

def command():
    with process_group(SimpleNamespace(device="cpu")):
        if dist.get_rank() == 1:
            raise RuntimeError("the disk of rank 1 is full")
        dist.barrier()

raise SystemExit(run_command(command))
"""


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def test_a_rank_that_fails_ends_both_and_says_why():
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RANK_THAT_FAILS],
            env={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": path},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        told = [process.communicate(timeout=120)[1] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert all(process.returncode != 0 for process in ranks)
    assert "the disk of rank 1 is full" in told[1]


def test_a_lone_process_leaves_no_group_behind():
    run_cfg = SimpleNamespace(device="cpu")
    with pytest.raises(KeyError), process_group(run_cfg):
        assert (run_cfg.rank, run_cfg.world_size, run_cfg.distributed) == (0, 1, False)
        raise KeyError
    assert not dist.is_initialized()


@pytest.mark.parametrize("variable", ["SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"])
def test_tasks_of_srun_that_do_not_know_of_each_other_are_refused(monkeypatch, variable):
    monkeypatch.setenv(variable, "8")
    with (
        pytest.raises(ValueError, match=r"8 tasks.*torch\.distributed\.run"),
        process_group(SimpleNamespace(device="cpu")),
    ):
        pass
    assert not dist.is_initialized()


def test_one_task_of_a_larger_allocation_runs(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    with process_group(SimpleNamespace(device="cpu")):
        assert dist.get_world_size() == 1
