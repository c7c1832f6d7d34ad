"""Training by updates on a toy: lengths, schedules, logs, and going on from any update bit for bit."""

import csv
import json
import logging
import math

import pytest
import torch
from toy_pretraining import Killed, NoisySlope, pretrain
from toy_slope import make_runner


def state(runner):
    saved = torch.load(runner.output_dir / "checkpoint_last.pth", weights_only=True)
    return {**saved["model"], **{f"adam {i}": s["exp_avg"] for i, s in saved["optimizer"]["state"].items()}}


def rows(runner):
    with open(runner.output_dir / "training.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_killed_at_any_update_ends_as_an_undisturbed_one(tmp_path, workers, accumulated):
    options = {"num_workers": workers, "accum_grad_iters": accumulated, "save_every_steps": 1}
    whole = pretrain(tmp_path / "whole", **options)
    whole.train()
    num_updates = 15 // accumulated if accumulated == 1 else 6  # 22 // 4 = 5 an epoch, 22 // 8 = 2
    assert whole.record.updates == num_updates
    for killed_at in range(1, num_updates, 1 if workers == 0 else 4):
        folder = tmp_path / f"killed{killed_at}"
        with pytest.raises(Killed):
            pretrain(folder, stop_after=killed_at, **options).train()
        torch.manual_seed(99)  # another process's numbers
        resumed = pretrain(folder, resume_ckpt_path="auto", **options)
        torch.rand(killed_at)
        resumed.train()
        assert resumed.record.updates == num_updates
        expected, found = state(whole), state(resumed)
        assert set(expected) == set(found)
        assert all(torch.equal(expected[name], found[name]) for name in expected), killed_at
        exact = [[row[name] for name in ("updates", "samples_seen", "loss", "lr")] for row in rows(whole)]
        assert [[row[name] for name in ("updates", "samples_seen", "loss", "lr")] for row in rows(resumed)] == exact


def test_without_its_generators_it_would_end_elsewhere(tmp_path):
    """The check above can fail: other random numbers give other weights."""
    options = {"save_every_steps": 1}
    whole = pretrain(tmp_path / "whole", **options)
    whole.train()
    with pytest.raises(Killed):
        pretrain(tmp_path / "killed", stop_after=7, **options).train()
    path = tmp_path / "killed" / "job" / "checkpoint_last.pth"
    saved = torch.load(path, weights_only=True)
    saved["generators"][0]["torch"] = torch.Generator().manual_seed(1).get_state()
    torch.save(saved, path)
    resumed = pretrain(tmp_path / "killed", resume_ckpt_path="auto", **options)
    resumed.train()
    assert not torch.equal(state(resumed)["slope.weight"], state(whole)["slope.weight"])


def test_steps_or_samples_say_how_long_to_train_whatever_an_epoch_has(tmp_path):
    for number, length in enumerate(({"max_steps": 7}, {"max_samples": 31})):
        runner = pretrain(tmp_path / str(number), max_epoch=1, **length)
        runner.train()
        assert runner.record.updates == 7  # 31 // 4
        assert runner.record.samples_seen == 28
        assert runner.max_epoch == 2
    with pytest.raises(ValueError, match="max_steps and run.max_samples"):
        pretrain(tmp_path / "both", max_steps=7, max_samples=28)


def test_many_repeats_are_warned_of(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        pretrain(tmp_path, size=4, max_steps=12).train()
    assert "seen 12 times" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        pretrain(tmp_path / "few", size=8, max_steps=12).train()
    assert "teaches little" not in caplog.text


def test_the_decay_is_a_function_of_progress(tmp_path):
    """By hand: warm-up 0.0, 0.5; then 1.0 x 0.5 a decay, four parts of 8 updates, sets of unlike size alike."""
    expected = [0.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    for size in (8, 22):
        runner = pretrain(
            tmp_path / str(size),
            size=size,
            max_steps=8,
            num_decays=4,
            lr_sched="linear_warmup_decay_steps",
            lr_decay_rate=0.5,
            init_lr=1.0,
            min_lr=0.0,
            warmup_lr=0.0,
            warmup_steps=2,
        )
        runner.train()
        assert [float(row["lr"]) for row in rows(runner)] == pytest.approx(expected)


def test_by_epochs_it_decays_once_an_epoch(tmp_path):
    runner = pretrain(
        tmp_path, size=8, lr_sched="linear_warmup_decay_steps", lr_decay_rate=0.85, init_lr=1.0, min_lr=0.0
    )
    runner.train()
    expected = [0.85 ** (update // 2) for update in range(6)]
    assert [float(row["lr"]) for row in rows(runner)] == pytest.approx(expected)


def test_a_decay_without_its_factor_is_refused(tmp_path):
    with pytest.raises(ValueError, match="lr_decay_rate is None"):
        pretrain(tmp_path, lr_sched="linear_warmup_decay_steps").train()


def test_the_log_has_the_parts_of_the_loss(tmp_path):
    runner = pretrain(tmp_path, log_freq=2, max_steps=5)
    runner.train()
    found = rows(runner)
    assert [int(row["updates"]) for row in found] == [2, 4, 5]
    assert [int(row["samples_seen"]) for row in found] == [8, 16, 20]
    for row in found:
        assert float(row["loss_part"]) == pytest.approx(float(row["loss"]) / 2, rel=1e-4)
        assert 0 <= float(row["data_wait"]) <= 1
        assert float(row["samples_per_second"]) > 0


def test_the_record_says_what_was_seen(tmp_path):
    runner = pretrain(tmp_path, max_steps=11, accum_grad_iters=2)
    runner.train()
    record = json.loads((runner.output_dir / "training.json").read_text())
    assert (record["num_pairs"], record["batch_size"], record["updates"], record["samples_seen"]) == (22, 8, 11, 88)
    assert record["repeats"] == 4.0
    assert record["device_hours"] == pytest.approx(record["seconds"]["train"] / 3600, abs=1e-4)


def test_alpha_can_rise_over_steps(tmp_path):
    seen = []

    class Watching(NoisySlope):
        def forward(self, samples):
            if self.training:
                done = samples["epoch"] * samples["num_iters_per_epoch"] + samples["iters"]
                seen.append(min(1.0, done / (2 * samples["num_iters_per_epoch"])))  # as BLIP counts
            return super().forward(samples)

    pretrain(tmp_path, Watching(), size=8, max_steps=6, ramp_steps=4).train()
    assert seen == [0, 0.25, 0.5, 0.75, 1, 1]
    seen.clear()
    pretrain(tmp_path / "epochs", Watching(), size=8, max_steps=6).train()
    assert seen == [0, 0.25, 0.5, 0.75, 1, 1]  # two epochs of two updates


def test_a_loss_that_is_no_number_ends_the_run_with_what_to_do(tmp_path):
    class Broken(NoisySlope):
        def forward(self, samples):
            output = super().forward(samples)
            return {"loss": output["loss"] * (math.nan if samples["iters"] == 2 else 1)}

    with pytest.raises(ValueError, match=r"loss is nan near update 3.*init_lr"):
        pretrain(tmp_path, Broken()).train()


def test_a_checkpoint_of_another_runner_is_refused(tmp_path):
    make_runner(tmp_path, NoisySlope()).train()
    with pytest.raises(ValueError, match="not saved by run.runner runner_pretrain"):
        pretrain(tmp_path, resume_ckpt_path="auto").train()


def test_auto_starts_afresh_where_there_is_nothing(tmp_path):
    runner = pretrain(tmp_path, resume_ckpt_path="auto", max_steps=2)
    runner.train()
    assert runner.record.updates == 2


def test_tensorboard_that_is_not_there_is_said_before_the_first_update(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    runner = pretrain(tmp_path, tensorboard=True)
    with pytest.raises(ValueError, match="pip install tensorboard"):
        runner.train()
    assert runner.record.updates == 0


def test_a_global_batch_is_shared_out(tmp_path):
    runner = pretrain(tmp_path, global_batch_size=8, accum_grad_iters=2, max_steps=2)
    runner.train()
    assert runner.record.samples_seen == 16 and runner.config.run_cfg.batch_size_train == 4
    with pytest.raises(ValueError, match=r"global_batch_size 9 .* 1 process.* x 2 .*: set it to 8 or 10"):
        pretrain(tmp_path, global_batch_size=9, accum_grad_iters=2)


def test_a_training_is_not_gone_on_with_under_other_settings_unasked(tmp_path):
    pretrain(tmp_path, max_steps=2).train()
    with pytest.raises(ValueError, match=r"other settings: run.init_lr: 0.05 -> 0.01. Set them back"):
        pretrain(tmp_path, max_steps=4, init_lr=0.01, resume_ckpt_path="auto").train()
    longer = pretrain(tmp_path, max_steps=4, num_workers=1, resume_ckpt_path="auto")
    longer.train()
    assert longer.record.updates == 4
    named = str(tmp_path / "job" / "checkpoint_last.pth")
    asked = pretrain(tmp_path, max_steps=6, init_lr=0.01, resume_ckpt_path=named)
    asked.train()
    assert asked.record.updates == 6
