"""The device-agnostic runner on a toy regression task."""

import json
import logging
import re

import pytest
import torch
from lavis.common.registry import registry
from toy_slope import GappyLine, Line, MomentumSlope, Slope, make_runner

from lavis_tldr.runners import RunnerCPU, RunnerTLDR


def test_is_registered_under_both_names():
    assert registry.get_runner_class("runner_cpu") is RunnerCPU
    assert registry.get_runner_class("runner_tldr") is RunnerTLDR


def test_trains_whole_batches_of_each_epoch_once(tmp_path):
    model = Slope()
    make_runner(tmp_path, model).train()
    assert [len(batch) for batch in model.seen] == [
        4,
        4,
        4,
        4,
    ]  # 10 samples: two batches an epoch, two dropped
    for epoch in (model.seen[:2], model.seen[2:]):
        indices = sum(epoch, [])
        assert len(set(indices)) == 8
    assert model.seen[:2] != model.seen[2:]
    assert model.slope.weight.item() > 0.1  # towards 2 from 0
    assert model.frozen.weight.item() == 1


def test_each_epoch_is_a_line_with_its_figures(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "lavis_tldr"):
        make_runner(tmp_path, scores=[0.5, 0.25], valid_splits=["val"], test_splits=["test"]).train()
    told = [record.getMessage() for record in caplog.records if record.name == "lavis_tldr.runners.runner_tldr"]
    assert [line.split(":")[0] for line in told] == ["epoch 0 (last", "epoch 1 (last", "test", "done in 0"]
    assert re.fullmatch(r"epoch 1 \(last: 1\): lr \S+, loss \S+; val.*", told[1])
    assert told[2] == "test: seen 5"
    assert told[3].endswith(f"best epoch 0: {tmp_path / 'job'}")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_unreadable_images_are_counted_once_and_listed(tmp_path, caplog, num_workers):
    datasets = {"line": {"train": GappyLine(12, {1, 5, 6, 7}), "val": GappyLine(5, {2})}}
    make_runner(
        tmp_path, datasets=datasets, scores=[0.5, 0.25], valid_splits=["val"], test_splits=[], num_workers=num_workers
    ).train()
    path = tmp_path / "job/unreadable.tsv"
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert rows == [["key", "reason"], *([f"line {index}", "bent"] for index in (1, 2, 5, 6, 7))]
    told = [record.getMessage() for record in caplog.records if record.name == "lavis_tldr.datasets.unreadable"]
    named = [message for message in told if "it is given all the same" in message]
    assert len(named) == 4  # three of the one set, one of the other
    assert [message for message in told if message not in named] == [
        f"5 images can't be read, in 17 samples; all are listed in {path}"
    ]


def test_relative_output_dir_counts_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_runner("out").train()
    assert (tmp_path / "out/job/checkpoint_last.pth").is_file()


def test_two_runners_in_one_process(tmp_path):
    make_runner(tmp_path / "a")
    second = make_runner(tmp_path / "b")
    assert registry.get_path("output_dir") == str(second.output_dir)


def test_without_validation_every_epoch_is_kept(tmp_path):
    make_runner(tmp_path).train()
    names = sorted(path.name for path in (tmp_path / "job").glob("*.pth"))
    assert names == ["checkpoint_0.pth", "checkpoint_1.pth", "checkpoint_last.pth"]
    epochs = [torch.load(tmp_path / "job" / name)["epoch"] for name in names]
    assert epochs == [0, 1, 1]


def test_best_checkpoint_by_validation_and_test_with_it(tmp_path):
    # A negative score must count: LAVIS's own runner never saves a best checkpoint below zero.
    model = Slope()
    runner = make_runner(
        tmp_path, model, scores=[-3.0, -1.0, -2.0], max_epoch=3, valid_splits=["val"], test_splits=["test"]
    )
    runner.train()
    folder = tmp_path / "job"
    best, last = (torch.load(folder / f"checkpoint_{name}.pth") for name in ("best", "last"))
    assert (best["epoch"], last["epoch"]) == (1, 2)
    assert best["best_agg_metrics"] == -1.0 and last["best_epoch"] == 1
    assert runner.task.evaluated[-1] == ("test", "best", [0, 1, 2, 3, 4])
    assert torch.equal(model.slope.weight, best["model"]["slope.weight"])
    assert not torch.equal(model.slope.weight, last["model"]["slope.weight"])
    logged = [json.loads(line) for line in (folder / "log.txt").read_text().splitlines() if line.startswith('{"val')]
    assert [line["val_agg_metrics"] for line in logged] == [-3.0, -1.0, -2.0]


def test_resumed_run_equals_an_undisturbed_one(tmp_path):
    whole = Slope()
    make_runner(tmp_path / "whole", whole, max_epoch=4).train()
    make_runner(tmp_path / "first", max_epoch=2).train()
    resumed = Slope()
    make_runner(
        tmp_path / "second",
        resumed,
        max_epoch=4,
        resume_ckpt_path=str(tmp_path / "first/job/checkpoint_last.pth"),
    ).train()
    assert resumed.seen == whole.seen[4:]
    assert torch.equal(resumed.slope.weight, whole.slope.weight)


def test_resuming_a_finished_run_trains_nothing(tmp_path):
    make_runner(tmp_path).train()
    model = Slope()
    make_runner(tmp_path, model, resume_ckpt_path=str(tmp_path / "job/checkpoint_last.pth")).train()
    assert model.seen == []


def test_best_of_the_resumed_run_is_remembered(tmp_path):
    make_runner(tmp_path / "first", scores=[5.0, 4.0], valid_splits=["val"]).train()
    model = Slope()
    runner = make_runner(
        tmp_path / "second",
        model,
        scores=[3.0],
        max_epoch=3,
        valid_splits=["val"],
        test_splits=["test"],
        resume_ckpt_path=str(tmp_path / "first/job/checkpoint_last.pth"),
    )
    runner.train()
    best = torch.load(tmp_path / "first/job/checkpoint_best.pth")
    assert (runner.best_epoch, runner.best_agg_metrics) == (0, 5.0)
    assert torch.equal(model.slope.weight, best["model"]["slope.weight"])


@pytest.mark.parametrize("save_frozen", [False, True])
def test_frozen_parameters_are_saved_on_request(tmp_path, save_frozen):
    make_runner(tmp_path, save_frozen=save_frozen).train()
    saved = torch.load(tmp_path / "job/checkpoint_last.pth")["model"]
    assert ("frozen.weight" in saved) == save_frozen


def test_resume_over_other_frozen_weights_is_refused(tmp_path):
    make_runner(tmp_path / "first").train()
    other = Slope()
    torch.nn.init.constant_(other.frozen.weight, 3.0)
    runner = make_runner(tmp_path / "second", other, resume_ckpt_path=str(tmp_path / "first/job/checkpoint_last.pth"))
    with pytest.raises(ValueError, match="other frozen weights"):
        runner.train()


def test_resume_from_another_model_names_the_parameters(tmp_path):
    make_runner(tmp_path / "first").train()

    class Wider(Slope):
        def __init__(self):
            super().__init__()
            self.extra = torch.nn.Linear(1, 1)

    runner = make_runner(tmp_path / "second", Wider(), resume_ckpt_path=str(tmp_path / "first/job/checkpoint_last.pth"))
    with pytest.raises(ValueError, match="extra.bias, extra.weight"):
        runner.train()


def test_frozen_parameters_that_change_are_saved(tmp_path):
    """A codebook moved by averages has no gradient, and is lost in a stock checkpoint."""

    class Averaged(Slope):
        def forward(self, samples):
            if self.training:
                self.frozen.weight.data += 1
            return super().forward(samples)

    make_runner(tmp_path, Averaged()).train()
    assert torch.load(tmp_path / "job/checkpoint_last.pth")["model"]["frozen.weight"].item() == 5  # 1 + 4 steps


def test_extra_state_survives(tmp_path):
    """A vocabulary, say, that a module keeps beside its tensors."""

    class Worded(Slope):
        words: tuple = ()

        def get_extra_state(self):
            return {"words": list(self.words)}

        def set_extra_state(self, state):
            self.words = tuple(state["words"])

    first, second = Worded(), Worded()
    first.words = ("dog", "cat")
    make_runner(tmp_path / "first", first).train()
    path = tmp_path / "first/job/checkpoint_last.pth"
    make_runner(tmp_path / "second", second, resume_ckpt_path=str(path)).train()
    assert second.words == ("dog", "cat")


def test_momentum_weights_survive(tmp_path):
    model = MomentumSlope()
    make_runner(tmp_path / "first", model).train()
    assert model.slope_m.weight.item() != model.slope.weight.item()
    resumed = MomentumSlope()
    make_runner(tmp_path / "second", resumed, resume_ckpt_path=str(tmp_path / "first/job/checkpoint_last.pth")).train()
    assert torch.equal(resumed.slope_m.weight, model.slope_m.weight)


def test_stock_checkpoint_without_momentum_weights_restarts_them(tmp_path, caplog):
    make_runner(tmp_path / "first", MomentumSlope()).train()
    path = tmp_path / "first/job/checkpoint_last.pth"
    content = torch.load(path)
    for name in ("slope_m.weight",):
        del content["model"][name]
    torch.save(content, path)
    resumed = MomentumSlope()
    with caplog.at_level(logging.WARNING):
        make_runner(tmp_path / "second", resumed, resume_ckpt_path=str(path)).train()
    assert torch.equal(resumed.slope_m.weight, content["model"]["slope.weight"])
    assert "no momentum weights" in caplog.text


def test_bf16_applies_to_the_steps_only(tmp_path):
    model = Slope()
    runner = make_runner(tmp_path, model, bf16=True)
    runner.train()
    assert model.dtypes == {torch.bfloat16}
    assert model.slope.weight.dtype == torch.float32
    assert "train_step" not in vars(runner.task)


def test_too_small_a_training_set(tmp_path):
    runner = make_runner(tmp_path, datasets={"line": {"train": Line(3)}})
    with pytest.raises(ValueError, match="3 samples, too few for a batch of 4.*at most 3"):
        runner.train()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"valid_splits": ["train"]}, "training transforms"),
        ({"amp": True, "bf16": True}, "exclude each other"),
        ({"lr_sched": "cosine"}, "linear_warmup_cosine_lr"),
        ({"valid_splits": ["dev"]}, "'dev'"),
        ({"valid_splits": ["val"]}, "agg_metrics"),
        ({"resume_ckpt_path": "absent.pth"}, "does not exist"),
        ({"train_dataset_ratios": [1]}, "runner_iter"),
    ],
)
def test_bad_run_configs_say_what_to_do(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        make_runner(tmp_path, **changes).train()


def test_evaluate_only_leaves_no_checkpoint(tmp_path):
    runner = make_runner(tmp_path, evaluate=True, train_splits=[], test_splits=["train", "test"])
    runner.train()
    assert [entry[2] for entry in runner.task.evaluated] == [list(range(10)), list(range(5))]
    assert not list((tmp_path / "job").glob("*.pth"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
def test_cuda_without_cuda_says_which_runner_to_use(tmp_path):
    with pytest.raises(ValueError, match="runner_cpu"):
        make_runner(tmp_path, runner=RunnerTLDR, device="cuda").train()


def test_matmul_precision_holds_while_training(tmp_path):
    seen = []

    class Watched(Slope):
        def forward(self, samples):
            seen.append(torch.get_float32_matmul_precision())
            return super().forward(samples)

    make_runner(tmp_path, Watched(), matmul_precision="high").train()
    assert set(seen) == {"high"}
    assert torch.get_float32_matmul_precision() == "highest"


def test_an_unknown_matmul_precision_is_refused(tmp_path):
    with pytest.raises(ValueError, match="matmul_precision is 'tf32'; expected one of highest, high, medium"):
        make_runner(tmp_path, matmul_precision="tf32").train()
