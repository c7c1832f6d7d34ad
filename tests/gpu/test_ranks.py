"""Two ranks that share one GPU, by gloo; and what needs two GPUs, by NCCL."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from reductions import files_of, reduce_set, write_config
from trainers import TRAINERS, write_run

import lavis_tldr
from lavis_tldr.train import check_names, load_user_config

REPOSITORY = Path(lavis_tldr.__file__).parents[1]
WORKER = Path(__file__).with_name("rank_work.py")


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


@pytest.fixture
def ranks(tmp_path, device):
    """Run a job by two ranks: exit statuses and what each wrote to stderr. ``ranks("train", config=...)``."""

    def run(work: str, limit: float = 300, environment: dict | None = None, **job) -> tuple[list[int], list[str]]:
        path = tmp_path / f"{work}.json"
        job = {"work": work, "ranks": 2, "device": device, "folder": str(tmp_path), **job}
        path.write_text(json.dumps(job, default=str))
        path_before = os.environ.get("PYTHONPATH")
        common = {"PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), path_before])), **(environment or {})}
        logs = [tmp_path / f"stderr{rank}" for rank in range(2)]
        processes = []
        for rank, log in enumerate(logs):
            own = {name: value.format(rank=rank) for name, value in common.items()}
            with open(log, "w") as stderr:
                command = [sys.executable, "-W", "ignore", str(WORKER), str(path), str(rank)]
                environ = {**os.environ, **own, "OMP_NUM_THREADS": "1"}
                processes.append(subprocess.Popen(command, env=environ, stdout=stderr, stderr=stderr))
        ends = time.monotonic() + limit
        try:
            statuses = [process.wait(max(1.0, ends - time.monotonic())) for process in processes]
        finally:
            for process in processes:
                process.kill()
        return statuses, [log.read_text() for log in logs]

    return run


@pytest.mark.parametrize("name", TRAINERS)
def test_both_ranks_end_with_the_same_weights(ranks, crowd, tmp_path, device, name):
    config = write_run(name, crowd, tmp_path, device, distributed=True, max_epoch=5, job_id="job")
    statuses, told = ranks("train", config=config)
    assert statuses == [0, 0], told
    first, second = (torch.load(tmp_path / f"rank{rank}.pth", weights_only=True) for rank in range(2))
    for key, value in first["weights"].items():
        assert torch.equal(value, second["weights"][key]), key
    if name == "codebook_captioner":
        assert first["steps"] >= 40 and first["revived"] > 0


def test_two_ranks_reduce_to_the_files_of_one(ranks, crowd, tmp_path, device):
    def config(output: str):
        common = {"device": device, "num_workers": 2, "selection": "aligned", "recipe": "gated", "num_sampled": 2}
        return write_config(
            tmp_path / f"{output}.yaml", crowd.source, crowd.captioner, tmp_path / output / "out", **common
        )

    reduce_set(config("one"))
    statuses, told = ranks("reduce", config=config("two"))
    assert statuses == [0, 0], told
    one, two = files_of(tmp_path / "one/out"), files_of(tmp_path / "two/out")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


def test_a_rank_that_fails_ends_both(ranks, device):
    group = {"RANK": "{rank}", "LOCAL_RANK": "{rank}", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    environment = {**group, "MASTER_PORT": str(free_port())}
    statuses, told = ranks("fail", limit=120, environment=environment, group="cpu")
    assert 0 not in statuses
    assert "the disk of rank 1 is full" in told[1]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="NCCL refuses two ranks on one GPU, and there are not two")
def test_a_rank_that_fails_under_nccl_ends_and_says_why(tmp_path):
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"work": "fail", "group": "cuda", "device": "cuda"}))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--no-python"]
    command = [sys.executable, *launcher, "sh", "-c", f'exec "{sys.executable}" "{WORKER}" "{job}" "$RANK"']
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "the disk of rank 1 is full" in done.stderr


def test_the_stock_runner_trains_with_two_ranks(ranks, crowd, tmp_path, device):
    name, own = "codebook_captioner", {"runner": "runner_base", "distributed": True, "job_id": "job"}
    config = write_run(name, crowd, tmp_path, device, **own)
    check_names(load_user_config(config))
    if device == "cpu":
        pytest.skip("LAVIS's own runners need CUDA")
    statuses, told = ranks("stock", config=config)
    assert statuses == [0, 0], told
    first, second = (torch.load(tmp_path / f"rank{rank}.pth", weights_only=True)["weights"] for rank in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())
