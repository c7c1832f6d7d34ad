"""Grids over tiny reductions: what is run, what is not run again, and what fails alone."""

import json

import pytest
import reductions
import yaml
from toy_evaluation import KEY, write_evaluation
from toy_lavis import write_toy_run

from lavis_tldr.ablation import grid as grid_module
from lavis_tldr.ablation.settings import Metric
from lavis_tldr.ablation.steps import read_metric
from lavis_tldr.evaluation import proxy_evaluator
from lavis_tldr.runs.ledger import read_ledger

USABLE = 43  # of the drawn pool's 48 pairs


def results(grid):
    return {path.stem: json.loads(path.read_text()) for path in (grid.results / "results").glob("*.json")}


def kept(grid, name):
    table = read_ledger(grid.root / f"tiny-{name}", ["key", "kept"])
    return set(table.filter(table["kept"])["key"].to_pylist())


@pytest.fixture
def reduced(monkeypatch):
    """Names of the reductions that are run."""
    names, real = [], grid_module.reduce_set

    def record(config, *arguments, **options):
        names.append(config.run.name)
        return real(config, *arguments, **options)

    monkeypatch.setattr(grid_module, "reduce_set", record)
    return names


def test_each_arm_and_seed_is_a_reduction_of_its_own_on_shared_stages(grid):
    assert grid.run()
    found = results(grid)
    assert set(found) == {f"{arm}-seed{seed}" for arm in ("whole_set", "half", "quarter") for seed in (0, 1)}
    assert {name: result["pairs"] for name, result in found.items() if name.endswith("seed0")} == {
        "whole_set-seed0": USABLE,
        "half-seed0": 22,  # half of 43, rounded up
        "quarter-seed0": 11,
    }
    assert len(kept(grid, "whole_set-seed0")) == USABLE
    assert kept(grid, "half-seed0") != kept(grid, "half-seed1")
    assert {path.name for path in grid.root.iterdir() if (path / "manifest.json").is_file()} == {"encode"}
    assert {path.name for path in (grid.root / "cluster").iterdir()} == {
        "histogram-tfidf-4-seed0",
        "histogram-tfidf-4-seed1",
    }
    # Images stay where they are.
    assert not (grid.root / "tiny-half-seed0/build/images").exists()
    assert (grid.root / "tiny-half-seed0/build/annotations.json").is_file()


def test_what_is_done_is_not_done_again(grid, reduced):
    grid.write(arms={"half": {}})
    assert grid.run()
    first = results(grid)
    assert len(reduced) == 4
    assert grid.run()
    assert len(reduced) == 4
    (grid.results / "results/half-seed1.json").unlink()
    assert grid.run()
    assert reduced[4:] == ["tiny-half-seed1"]
    assert results(grid)["half-seed1"]["metrics"] == first["half-seed1"]["metrics"]


def test_another_arm_is_all_that_is_run(grid, reduced):
    grid.write(arms={"half": {}}, reference={})
    grid.run()
    grid.write(arms={"half": {}, "third": {"run.keep_ratio": 0.33}}, reference={})
    grid.run()
    assert reduced[2:] == ["tiny-third-seed0", "tiny-third-seed1"]


def test_a_changed_arm_is_refused_until_it_is_restarted(grid, reduced):
    grid.write(arms={"half": {}}, reference={})
    grid.run()
    grid.write(arms={"half": {"run.keep_ratio": 0.6}}, reference={})
    with pytest.raises(ValueError, match=r"half: config\.run\.keep_ratio: 0\.5 -> 0\.6(.|\n)*--restart ARM"):
        grid.run()
    grid.run(dry_run=True)
    assert any("half: refused, changed since: config.run.keep_ratio: 0.5 -> 0.6" in line for line in grid.said)
    assert grid.run(restart=["half"])
    assert len(reduced) == 4
    assert results(grid)["half-seed0"]["pairs"] == 26  # 0.6 x 43
    assert len(kept(grid, "half-seed0")) == 26


def test_a_changed_proxy_is_refused(grid, proxy):
    grid.write(arms={"half": {}}, reference={}, seeds=1)
    grid.run()
    grid.write(arms={"half": {}}, reference={}, seeds=1, proxy={**proxy, "num_steps": 4})
    with pytest.raises(ValueError, match=r"proxy\.options\.num_steps: 3 -> 4"):
        grid.run()


def test_a_result_of_an_earlier_reduction_does_not_count(grid, reduced):
    grid.write(arms={"half": {}}, reference={}, seeds=1)
    grid.run()
    path = grid.results / "results/half-seed0.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "ledger": "0" * 32}))
    with pytest.raises(ValueError, match="tiny-half-seed0 was reduced anew since"):
        grid.run()


def test_an_arm_that_fails_says_why_and_the_others_go_on(grid):
    arms = {"too many": {"run.num_clusters": 60}, "half": {}}
    grid.write(arms=arms, reference={})
    assert not grid.run()
    found = results(grid)
    assert "only 43 samples can be used" in found["too_many-seed0"]["error"]
    assert "too_many-seed1" not in found  # it would fail likewise
    assert not found["half-seed1"]["error"]
    table = (grid.results / "tiny.md").read_text()
    assert "| too many |" in table and "failed: run.num_clusters is 60" in table
    assert grid.said[-2] == "tiny: 1 arms failed: too many"
    # A failure is no result: once mended, the arm is run.
    grid.write(arms={**arms, "too many": {"run.num_clusters": 5}}, reference={})
    assert grid.run()


def test_no_pair_to_score_on_is_said(grid, proxy, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    elsewhere = {**proxy["val"], "image_root": str(tmp_path / "elsewhere")}
    grid.write(arms={"half": {}}, reference={}, proxy={**proxy, "val": elsewhere})
    assert not grid.run()
    assert "proxy.val has no pair that can be used" in results(grid)["half-seed0"]["error"]


def test_an_arm_without_the_file_that_it_needs_is_skipped(grid, reduced, tmp_path, monkeypatch):
    weights = tmp_path / "weights.pth"
    monkeypatch.setenv("NEEDED", str(weights))
    arms = {"by weights": {"run.keep_ratio": 0.3, "needs": "${oc.env:NEEDED}"}, "half": {}}
    grid.write(arms=arms, reference={}, seeds=1)
    assert grid.run(dry_run=True)
    assert f"  by weights: skipped: there is no file {weights}" in grid.said
    assert grid.run()  # that is no failure
    assert reduced == ["tiny-half-seed0"]
    assert f"| skipped: there is no file {weights} |" in (grid.results / "tiny.md").read_text()
    weights.touch()
    assert grid.run()
    assert reduced[1:] == ["tiny-by_weights-seed0"]


def test_a_proxy_without_enough_pairs_is_a_failed_arm(grid, proxy):
    grid.write(
        arms={"few": {"run.keep_ratio": 0.1}, "half": {}}, reference={}, seeds=1, proxy={**proxy, "batch_size": 8}
    )
    assert not grid.run()
    assert "don't fill a batch of 8" in results(grid)["few-seed0"]["error"]
    assert results(grid)["half-seed0"]["metrics"]


def test_some_arms_only(grid, reduced):
    assert grid.run(arms=["quarter"])
    assert set(reduced) == {"tiny-quarter-seed0", "tiny-quarter-seed1"}
    assert "| half |  |  |  |  |  | not run |" in (grid.results / "tiny.md").read_text()
    with pytest.raises(ValueError, match=r"no arm 'quartr' \(did you mean 'quarter'"):
        grid.run(arms=["quartr"])


def test_a_dry_run_says_what_is_done_and_runs_nothing(grid, reduced):
    grid.run(arms=["quarter"])
    reduced.clear()
    assert grid.run(dry_run=True)
    assert reduced == []
    told = "\n".join(grid.said)
    assert "  whole set (reference): 0 of 2 seeds done" in told
    assert "  quarter: 2 of 2 seeds done" in told
    assert "shared stages: 3 of 3 done" in told
    assert "  4 trials to do, about " in told


def test_a_dry_run_of_what_is_done_says_no_more(grid):
    grid.write(arms={"half": {}}, reference={})
    grid.run()
    grid.said.clear()
    assert grid.run(dry_run=True)
    assert grid.said[1:] == ["  half: 2 of 2 seeds done", "  0 trials to do, scored by the proxy"]


def test_a_dry_run_foresees_settings_that_are_out_of_range(grid):
    grid.write(arms={"none": {"run.keep_ratio": 0.0}, "half": {}}, reference={})
    assert grid.run(dry_run=True)
    (told,) = [line for line in grid.said if "would fail" in line]
    assert "keep_ratio" in told and grid.said.index(told) == 2  # below the arm's line
    assert "shared stages: 1 of 3 done" in "\n".join(grid.said)


def test_progress_is_told_trial_by_trial(grid):
    grid.write(arms={"half": {}}, reference={})
    grid.run()
    assert grid.said[0].startswith("tiny: 2 trials to do")
    assert grid.said[1].startswith("[1/2] half, seed 0: mean_recall ")
    assert "left)" in grid.said[1]
    assert grid.said[2].startswith("[2/2] half, seed 1: mean_recall ")


def test_the_loaded_model_serves_all_arms(grid, monkeypatch):
    built = []
    real = grid_module.LoadedOnce.__call__

    def count(self, task, cfg):
        parts = real(self, task, cfg)
        built.append(id(parts[1]))
        return parts

    monkeypatch.setattr(grid_module.LoadedOnce, "__call__", count)
    grid.run()
    assert len(built) == 6 and len(set(built)) == 1


def test_seeds_draw_and_train_anew(grid):
    """The same seed gives the same number whatever was run before."""
    grid.write(arms={"half": {}}, reference={}, seeds=[1])
    grid.run()
    alone = results(grid)["half-seed1"]["metrics"]
    (grid.results / "results/half-seed1.json").unlink()
    grid.write(arms={"half": {}}, reference={}, seeds=[0, 1])
    grid.run()
    assert results(grid)["half-seed1"]["metrics"] == alone


def test_a_downstream_run_is_named_instead_of_the_proxy(grid, tmp_path):
    """The toy evaluation counts the pairs of the reduced set that it is given."""
    config = write_evaluation(tmp_path)
    step = {
        "cfg_path": str(config),
        "options": {
            "run.annotations": "{build}/annotations.json",
            "run.output_dir": "{output}",
            "run.seed": "{seed}",
        },
    }
    metrics = {"number": {"file": "{output}/log.txt", "key": KEY}}
    grid.write(arms={"half": {}, "quarter": {"run.keep_ratio": 0.25}}, proxy=None, evaluate=[step], metrics=metrics)
    assert grid.run()
    found = results(grid)
    assert [found[f"{arm}-seed0"]["metrics"] for arm in ("whole_set", "half", "quarter")] == [
        {"number": USABLE},
        {"number": 22.0},
        {"number": 11.0},
    ]
    assert "| half | 22 | 22.00 ± 0.00 | -21.00 |" in (grid.results / "tiny.md").read_text()


def test_a_lavis_training_may_be_what_scores(grid, tmp_path):
    """A toy model trained by LAVIS's own runner; its loss is in the log.txt that LAVIS writes."""
    options = {"run.output_dir": "{output}", "run.job_id": "train", "run.runner": "runner_cpu", "run.seed": "{seed}"}
    steps = [{"cfg_path": str(write_toy_run(tmp_path)), "options": options}]
    metrics = {"loss": {"file": "{output}/train/log.txt", "key": "train_loss"}}
    grid.write(arms={"half": {}}, reference={}, proxy=None, evaluate=steps, metrics=metrics)
    assert grid.run()
    losses = [results(grid)[f"half-seed{seed}"]["metrics"]["loss"] for seed in (0, 1)]
    logged = [read_metric(Metric("", "train_loss"), grid.results / f"runs/half-seed{i}/train/log.txt") for i in (0, 1)]
    assert losses == logged and losses[0] != losses[1]


def test_runs_around_a_reduction_are_run_once(grid, tmp_path):
    config = write_evaluation(tmp_path)
    marks = tmp_path / "marks"
    prepare = [{"cfg_path": str(config), "options": {"run.output_dir": f"{marks}/{{arm}}", "run.annotations": ""}}]
    grid.write(arms={"half": {"prepare": prepare}, "quarter": {}}, reference={})
    grid.run(dry_run=True)
    assert f"    prepare {config}: to do" in grid.said
    assert grid.run()
    assert [path.name for path in marks.iterdir()] == ["half"]
    assert len((marks / "half/log.txt").read_text().splitlines()) == 1
    (grid.results / "results/half-seed0.json").unlink()
    assert grid.run()
    assert len((marks / "half/log.txt").read_text().splitlines()) == 1


def test_a_drawn_caption_is_one_of_two(grid, monkeypatch):
    shapes, train = [], proxy_evaluator.train_proxy

    def record(images, texts, *rest):
        shapes.append(tuple(texts.shape[:-1]))
        return train(images, texts, *rest)

    monkeypatch.setattr(proxy_evaluator, "train_proxy", record)
    arms = {"drawn": {"run.recipe": "drawn"}, "joined": {"run.recipe": "original_generated"}}
    grid.write(arms=arms, reference={}, seeds=1, overrides={})
    assert grid.run()
    assert (grid.root / "caption/manifest.json").is_file()  # every image is captioned once, for both
    assert shapes == [(22, 2), (22,)]


def test_what_the_arms_train_on(grid, monkeypatch):
    """The whole set, a drawn share of it, and one selection with its original and its refined captions."""
    calls, evaluate = [], proxy_evaluator.ProxyEvaluator.__call__

    def record(self, pairs, options, seed):
        calls.append(dict(pairs))
        return evaluate(self, pairs, options, seed)

    monkeypatch.setattr(proxy_evaluator.ProxyEvaluator, "__call__", record)
    arms = {
        "random": {"run.selection": "random"},
        "original": {},
        "refined": {"run.recipe": "original_generated", "run.joiner": " / "},
    }
    grid.write(arms=arms, overrides={})
    assert grid.run()
    for seed in (0, 1):
        whole, random, original, refined = calls[seed::2]
        assert len(whole) == USABLE
        assert len(random) == len(original) == 22  # half of 43, rounded up
        assert random.items() < whole.items() and original.items() < whole.items()
        assert refined.keys() == original.keys()
        ledger = read_ledger(
            grid.root / f"tiny-refined-seed{seed}", ["image_key", "caption_original", "caption_generated"]
        )
        said = {row["image_key"]: (row["caption_original"], row["caption_generated"]) for row in ledger.to_pylist()}
        assert {key: captions for key, (captions,) in original.items()} == {key: said[key][0] for key in original}
        assert {key: captions for key, (captions,) in refined.items()} == {
            key: " / ".join(filter(None, said[key])) for key in refined
        }
        assert any(captions != original[key] for key, captions in refined.items())
    # Whole, random, original, refined: each with seed 0, then 1. Another seed draws other samples.
    assert calls[0] == calls[1] and calls[2].keys() != calls[3].keys()


def test_arms_may_lie_beside_sets_that_are_finished(grid):
    """The stages that both share are made once, whatever becomes of images and captions, and the set stays as it is."""
    config = yaml.safe_load(grid.base.read_text())
    config["run"] |= {"name": "finished", "images": "export", "recipe": "original_generated"}
    finished = grid.base.with_name("finished.yaml")
    finished.write_text(yaml.safe_dump(config))
    reductions.reduce_set(finished)
    before = {
        path: path.read_bytes() for path in grid.root.rglob("*") if path.is_file() and path.parent.name != "caption"
    }
    grid.write(base=str(finished), arms={"original": {"run.recipe": "original"}, "refined": {}}, seeds=1, overrides={})
    assert grid.run()
    assert {path: path.read_bytes() for path in before} == before
    assert kept(grid, "original-seed0") == kept(grid, "refined-seed0")


def test_arms_of_one_file_name_are_refused(grid):
    grid.write(arms={"10 %": {}, "10_": {}})
    with pytest.raises(ValueError, match="have one file name"):
        grid.run()


def test_results_written_by_hand_are_refused_with_their_path(grid):
    grid.write(arms={"half": {}}, reference={}, seeds=1)
    (grid.results / "results").mkdir(parents=True)
    (grid.results / "results/half-seed0.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"half-seed0\.json holds no result .* delete it"):
        grid.run()
