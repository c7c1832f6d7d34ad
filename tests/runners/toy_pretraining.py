"""A toy whose samples and forward passes draw random numbers, for `RunnerPretrain`."""

import random

import numpy as np
import torch
from toy_slope import Line, MomentumSlope, SlopeTask, make_runner

from lavis_tldr.runners import RunnerPretrain


class NoisyLine(Line):
    """Each sample draws from all three generators, as augmentations do."""

    def __getitem__(self, index):
        noise = random.random() + float(np.random.rand()) + float(torch.rand(1))
        return {"x": torch.tensor([index / 10 + noise / 100]), "index": index}


class NoisySlope(MomentumSlope):
    """Draws in its forward pass, too, and has a buffer and a moving average."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, samples):
        output = super().forward({**samples, "x": samples["x"] + 0.01 * torch.randn_like(samples["x"])})
        if self.training:
            self.count += 1
        return {**output, "loss_part": output["loss"].detach() / 2}


class FiguresTask(SlopeTask):
    def train_figures(self, model, samples):
        return model(samples)


def pretrain(folder, model=None, size=22, stop_after=None, task=None, **run):
    torch.manual_seed(11)
    model = model or NoisySlope()
    datasets = {"line": {"train": NoisyLine(size)}}
    run = {"lr_sched": "linear_warmup_cosine_steps", "init_lr": 0.05, "log_freq": 1, "max_epoch": 3, **run}
    runner = make_runner(folder, model, datasets, runner=RunnerPretrain, **run)
    runner.task = task or FiguresTask()
    if stop_after is not None:
        stop_when_reached(runner, stop_after)
    return runner


class Killed(Exception):
    pass


def stop_when_reached(runner, updates):
    update = runner._update

    def until(*args):
        if runner.record.updates == updates:
            raise Killed
        return update(*args)

    runner._update = until
