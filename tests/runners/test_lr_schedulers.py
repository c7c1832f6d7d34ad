import pytest
import torch
from lavis.common.registry import registry
from toy_slope import make_runner

from lavis_tldr.runners.lr_schedulers import LinearWarmupCosineSteps, LinearWarmupLinearSteps


def schedule(kind=LinearWarmupCosineSteps, **changes):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    settings = {"max_epoch": 4, "min_lr": 0.0, "init_lr": 0.8, "warmup_start_lr": 0.2, "warmup_steps": 3}
    scheduler = kind(optimizer=optimizer, decay_rate=None, **{**settings, **changes})
    scheduler.iters_per_epoch = 2
    return scheduler


def rates(scheduler):
    found = []
    for epoch in range(4):
        for step in range(2):
            scheduler.step(cur_epoch=epoch, cur_step=step)
            found.append(scheduler.optimizer.param_groups[0]["lr"])
    return found


def test_rates_by_hand():
    # Warm-up over three steps, one of them in the second epoch; then cos(0), cos(36), ... degrees.
    cosines = [1.0, 0.809017, 0.309017, -0.309017, -0.809017]
    expected = [0.2, 0.4, 0.6, *(0.4 * (1 + cosine) for cosine in cosines)]
    assert rates(schedule()) == pytest.approx(expected, abs=1e-6)


def test_linear_rates_by_hand():
    """Warm-up over three steps, then five from 0.8 to 0: a fifth less each, and 0 when they are over."""
    expected = [0.2, 0.4, 0.6, 0.8, 0.64, 0.48, 0.32, 0.16]
    assert rates(schedule(LinearWarmupLinearSteps)) == pytest.approx(expected)


def test_without_warmup_it_starts_at_the_full_rate():
    assert rates(schedule(warmup_steps=0, warmup_start_lr=-1))[0] == pytest.approx(0.8)


def test_warmup_longer_than_the_training_never_passes_the_full_rate():
    assert rates(schedule(warmup_steps=100))[-1] == pytest.approx(0.2 + 0.6 * 7 / 100)


def test_runner_tells_the_length_of_an_epoch(tmp_path):
    runner = make_runner(tmp_path, lr_sched="linear_warmup_cosine_steps", warmup_steps=3, min_lr=0.0)
    runner.train()
    assert runner.lr_scheduler.iters_per_epoch == 2
    # The last of four steps, warm-up over: init_lr itself, where the cosine starts.
    assert runner.optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_other_runners_are_told_so():
    scheduler = registry.get_lr_scheduler_class("linear_warmup_cosine_steps")(
        optimizer=None, max_epoch=1, min_lr=0.0, init_lr=1.0
    )
    with pytest.raises(ValueError, match="runner_tldr"):
        scheduler.step(cur_epoch=0, cur_step=0)
