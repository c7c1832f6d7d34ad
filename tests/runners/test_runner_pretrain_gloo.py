"""`RunnerPretrain` in two gloo processes: what one process with the whole batch gives, and resumed exactly."""

import csv
import json
import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from toy_pretraining import FiguresTask, Killed, pretrain
from toy_slope import Line, Slope, make_runner

from lavis_tldr.runners import RunnerPretrain

STEPS = {"max_steps": 7, "log_freq": 1, "lr_sched": "linear_warmup_cosine_steps", "init_lr": 0.05, "min_lr": 0.0}


def fit(folder, **run):
    """A line without noise; the weight."""
    model = Slope()
    runner = make_runner(folder, model, {"line": {"train": Line(20)}}, runner=RunnerPretrain, **STEPS, **run)
    runner.task = FiguresTask()
    runner.train()
    return runner.unwrap_dist_model(runner.model).slope.weight.item()


def noisy(folder, **run):
    """Draws everywhere; all of its state."""
    runner = pretrain(folder, distributed=True, batch_size_train=2, max_steps=6, save_every_steps=1, **run)
    runner.train()
    model = runner.unwrap_dist_model(runner.model)
    return [value.tolist() for value in model.state_dict().values()]


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    told = {"fit": fit(f"{folder}/two", distributed=True, batch_size_train=2, accum_grad_iters=1)}
    told["whole"] = noisy(f"{folder}/whole")
    try:
        noisy(f"{folder}/killed", stop_after=4)
    except Killed:
        dist.barrier()
    torch.rand(rank + 3)
    told["resumed"] = noisy(f"{folder}/killed", resume_ckpt_path="auto")
    with open(f"{folder}/rank{rank}.json", "w") as file:
        json.dump(told, file)
    dist.barrier()
    # Of several models and a run cut short gloo's threads may outlive what they belong to: no teardown.
    os._exit(0)


def losses(folder):
    with open(folder / "job" / "training.csv", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_two_processes_give_one_and_resume_exactly(tmp_path):
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    alone = fit(tmp_path / "one", batch_size_train=4)
    assert told[0]["fit"] == told[1]["fit"] == pytest.approx(alone, rel=1e-6)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)  # the mean of both
    assert told[0]["whole"] == told[0]["resumed"] and told[1]["whole"] == told[1]["resumed"]
