"""A checkpoint goes through the evaluations that it can take and whose data is there, each once."""

import json
from pathlib import Path

import pytest
import torch

from lavis_tldr import cli
from lavis_tldr.suite.command import evaluate
from lavis_tldr.suite.results import read_result


def statuses(outcomes) -> dict[str, str]:
    return {outcome.evaluation: outcome.status for outcome in outcomes}


@pytest.fixture
def checkpoint(toys, album, tmp_path) -> Path:
    return toys.write_clip(tmp_path / "clip_whole", album)


def run(checkpoint, tmp_path, **asked):
    return evaluate(checkpoint, out=tmp_path / "out", device="cpu", **asked)


def test_each_evaluation_is_done_refused_or_skipped_with_a_reason(toys, checkpoint, tmp_path):
    outcomes = run(checkpoint, tmp_path)
    assert statuses(outcomes) == {
        "toy_a": "done",
        "toy_b": "done",
        "toy_lacking": "skipped",
        "toy_asking": "refused",
    }
    told = {outcome.evaluation: outcome.told for outcome in outcomes}
    assert told["toy_a"] == "test: accuracy 50.00, MdR 2.50"
    other = tmp_path / "data" / "toy" / "other.json"
    assert told["toy_lacking"] == f"{other} is missing (another list): https://example.org/other"
    # one of its two splits lacks a file
    assert told["toy_b"].startswith("val: accuracy 50.00") and f"({other} is missing" in told["toy_b"]
    assert "fuse" in told["toy_asking"]
    result = read_result(tmp_path / "out" / "clip_whole" / "clip_pretrain_zero-shot_seed0" / "toy_a.json")
    assert result.figures == {"test": {"acc": 50.0, "rank": 2.5, "chance": 10.0}}
    assert (result.family, result.arch, result.protocol, result.seed) == ("CLIP", "clip_pretrain", "zero-shot", 0)
    assert result.account["num_pairs"] == 100
    table = (tmp_path / "out" / "evaluations.md").read_text()
    assert "| CLIP | clip_whole | 100 | zero-shot | 50.0 | 2.5 |" in table


def test_images_come_as_in_training(toys, checkpoint, tmp_path):
    run(checkpoint, tmp_path, names=["toy_a"])
    settings = read_result(tmp_path / "out" / "clip_whole" / "clip_pretrain_zero-shot_seed0" / "toy_a.json").settings[
        "test"
    ]
    # of the training's size and colours, without its augmentation; the set's own eval is another size's
    assert settings["datasets"]["tldr_retrieval"]["vis_processor"]["eval"] == toys.PROCESSOR
    run(checkpoint, tmp_path, names=["toy_a"], options=["vis_processor.mean=[0.1,0.1,0.1]"])
    settings = read_result(tmp_path / "out" / "clip_whole" / "clip_pretrain_zero-shot_seed0" / "toy_a.json").settings[
        "test"
    ]
    assert settings["datasets"]["tldr_retrieval"]["vis_processor"]["eval"]["mean"] == [0.1, 0.1, 0.1]


def test_what_is_done_is_not_done_again(toys, checkpoint, tmp_path, caplog):
    run(checkpoint, tmp_path, names=["toy_a"])
    toys.ToyScores.figures = {"acc": 99.0}
    (outcome,) = run(checkpoint, tmp_path, names=["toy_a"])
    assert outcome.status == "kept" and outcome.told == "test: accuracy 50.00, MdR 2.50"
    # where it runs decides nothing; how does
    assert statuses(run(checkpoint, tmp_path, names=["toy_a"], options=["run.num_workers=0"])) == {"toy_a": "kept"}
    assert len(toys.ToyScores.asked) == 1
    (outcome,) = run(checkpoint, tmp_path, names=["toy_a"], options=["run.batch_size_eval=5"])
    assert outcome.status == "done" and outcome.told == "test: accuracy 99.00"
    assert "anew: test.run.batch_size_eval: 32 -> 5" in caplog.text


def test_another_checkpoint_or_list_is_evaluated_anew(toys, checkpoint, tmp_path, caplog):
    run(checkpoint, tmp_path, names=["toy_a"])
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "epoch": 7}, checkpoint)
    assert statuses(run(checkpoint, tmp_path, names=["toy_a"])) == {"toy_a": "done"}
    assert "another checkpoint" in caplog.text
    rows = json.loads((tmp_path / "data" / "toy" / "dev.json").read_text())
    (tmp_path / "data" / "toy" / "dev.json").write_text(json.dumps(rows[:5]))
    assert statuses(run(checkpoint, tmp_path, names=["toy_a"])) == {"toy_a": "done"}
    assert toys.ToyScores.asked == [12, 12, 5]


def test_one_that_fails_does_not_end_the_others(toys, checkpoint, tmp_path, monkeypatch, capsys):
    from lavis_tldr.suite import evaluations

    broken = toys.toy_evaluation("toy_a", task="toy_score")
    monkeypatch.setitem(evaluations.EVALUATIONS, "toy_a", broken)
    asked = ["evaluate", "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert cli.main(asked) == 1
    told = capsys.readouterr().out
    assert "failed   toy_a: ValueError" in told and "did you mean 'toy_scores'" in told
    assert "done     toy_b: val: accuracy 50.00" in told
    # what a suite skips or refuses is no fault; what was asked for by name is one
    monkeypatch.setitem(evaluations.EVALUATIONS, "toy_a", toys.toy_evaluation("toy_a"))
    assert cli.main(asked) == 0
    assert cli.main([*asked, "--evaluations", "toy_asking"]) == 1
    assert cli.main([*asked, "--evaluations", "toy_a", "toy_lacking"]) == 1


@pytest.mark.parametrize(
    "figures", [{"acc": float("nan"), "rank": 1.0}, {"rank": 1.0}, {"acc": 1.0, "x": float("inf")}]
)
def test_a_result_without_its_figure_or_with_one_that_is_no_number_fails(toys, checkpoint, tmp_path, figures):
    toys.ToyScores.figures = figures
    (outcome,) = run(checkpoint, tmp_path, names=["toy_a"])
    assert outcome.status == "failed" and "toy_scores gave" in outcome.told
    assert not (tmp_path / "out" / "clip_whole" / "clip_pretrain_zero-shot_seed0" / "toy_a.json").exists()


def test_splits_that_are_runs_of_their_own(toys, checkpoint, tmp_path, monkeypatch):
    from lavis_tldr.suite import evaluations

    splits = (Split := evaluations.Split)("testA", "test", ("dev.json",)), Split("testB", "test", ("dev.json",))
    monkeypatch.setitem(evaluations.EVALUATIONS, "toy_a", toys.toy_evaluation(splits=splits, apart=True))
    (outcome,) = run(checkpoint, tmp_path, names=["toy_a"])
    assert outcome.told == "testA: accuracy 50.00, MdR 2.50; testB: accuracy 50.00, MdR 2.50"
    assert len(toys.ToyScores.asked) == 2


def test_retrieval_on_a_set_of_ones_own_by_a_task_of_ours(toys, checkpoint, album, tmp_path):
    places = f"{album.source['annotations']},{album.source['image_root']}"
    asked = {"retrieval": [f"photos={places}"], "options": ["run.task=tldr_pretrain", "run.num_workers=0"]}
    (outcome,) = run(checkpoint, tmp_path, **asked)
    assert outcome.status == "done", outcome.told
    result = read_result(tmp_path / "out" / "clip_whole" / "clip_pretrain_zero-shot_seed0" / "photos_retrieval.json")
    assert 0 <= result.figures["test"]["txt_r1"] <= result.figures["test"]["txt_r5"] <= 100


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"suite": "papers"}, "no suite 'papers'.*did you mean 'paper'"),
        ({"names": ["toy_aa"]}, "no evaluation 'toy_aa'.*did you mean"),
        ({"retrieval": ["photos=list.json"]}, "NAME=LIST,IMAGES"),
        ({"retrieval": ["photos=list.json,images"]}, "no list list.json"),
        ({"retrieval": ["coco=list.json,images"]}, "is taken"),
        ({"captions": ["a/b=list.json,images"]}, "none of a file"),
        ({"names": ["toy_a", "toy_a"]}, "'toy_a' is asked for twice"),
        ({"options": ["k_test=3"]}, "SECTION.KEY=VALUE"),
        ({"options": ["run.k_test"]}, "SECTION.KEY=VALUE"),
        ({"label": "a/b"}, "without slashes"),
    ],
)
def test_what_is_asked_wrongly_is_refused_at_once(toys, checkpoint, tmp_path, asked, message):
    with pytest.raises(ValueError, match=message):
        run(checkpoint, tmp_path, **asked)
    assert toys.ToyScores.asked == []
