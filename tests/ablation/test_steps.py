"""Runs around a reduction: done once, and their numbers read back."""

import json

import pytest
from toy_evaluation import write_evaluation

from lavis_tldr.ablation.settings import Metric, Step
from lavis_tldr.ablation.steps import StepsDone, read_metric


def log_of(folder):
    path = folder / "log.txt"
    return path.read_text().splitlines() if path.is_file() else []


def test_a_run_is_done_once_and_again_if_it_is_another(tmp_path):
    (tmp_path / "set.json").write_text("[1, 2]")
    options = {"run.output_dir": str(tmp_path / "{arm}"), "run.annotations": str(tmp_path / "set.json")}
    step, done = Step(str(write_evaluation(tmp_path)), options), StepsDone(tmp_path / "done")
    places = {"arm": "a"}
    assert not done.is_done(step, places)
    for _ in range(2):
        done.run(step, places)
    assert log_of(tmp_path / "a") == ['{"test_pairs": 2}']
    assert done.is_done(step, places) and not done.is_done(step, {"arm": "b"})
    # Another input, another run.
    done.run(step, places, {"ledger": "changed"})
    assert len(log_of(tmp_path / "a")) == 2
    done.forget(step, places)
    done.run(step, places)
    assert len(log_of(tmp_path / "a")) == 3


def test_a_run_whose_output_is_gone_is_done_again(tmp_path):
    step = Step(str(write_evaluation(tmp_path)), {"run.output_dir": str(tmp_path / "a")})
    done = StepsDone(tmp_path / "done")
    done.run(step, {})
    (tmp_path / "a/log.txt").unlink()
    (tmp_path / "a").rmdir()
    assert not done.is_done(step, {})


def test_the_last_line_with_the_key_counts(tmp_path):
    path = tmp_path / "log.txt"
    lines = [json.dumps({"val_r1": 1.5}), json.dumps({"val_r1": 2.5}), json.dumps({"val_loss": 9}), "3", "{broken"]
    path.write_text(json.dumps({"run": {"seed": 1}}, indent=4) + "\n" + "\n".join(lines) + "\n")
    assert read_metric(Metric("", "val_r1"), path) == 2.5
    with pytest.raises(ValueError, match=r"no JSON line with 'val_r2'; its lines have val_loss, val_r1"):
        read_metric(Metric("", "val_r2"), path)
    with pytest.raises(ValueError, match="there is no file .*nowhere"):
        read_metric(Metric("", "val_r1"), tmp_path / "nowhere")
