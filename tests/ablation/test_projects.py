"""The ablations of the repository: every arm of each is a reduction that could start."""

import csv
import importlib.util
import json
from pathlib import Path

import pytest

from lavis_tldr.ablation.plan import Plan, Result
from lavis_tldr.ablation.report import summarize, write_report
from lavis_tldr.ablation.settings import load_ablation
from lavis_tldr.stages.reduce_config import ReduceConfig
from lavis_tldr.train import load_user_config

ROOT = Path(__file__).parents[2]
FLICKR8K_WEB = ROOT / "projects/tldr/flickr8k_web"
ABLATIONS = sorted((ROOT / "projects/tldr/ablations").glob("*.yaml"))
POOLS = ROOT / "projects/tldr/pools"
CONFIGS = [*ABLATIONS, FLICKR8K_WEB / "proxy.yaml", POOLS / "criteria.yaml", POOLS / "recipes.yaml"]
OTHERS = {"pretrain", "evaluations"}  # results of other scripts than collect_results.py


def test_there_is_one_for_each_table_of_the_paper():
    names = {path.stem for path in CONFIGS}
    assert names >= {"table2a", "table2b", "table2c", "table2d", "table2e", "table2f", "figure1", "figure3"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_arm_is_a_reduction(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    ablation = load_ablation(path)
    assert len(ablation.seeds) >= 3
    assert not ablation.output_dir.is_absolute()
    assert any(arm.is_reference for arm in ablation.arms)
    trials = Plan(ablation).trials
    settings = {trial.arm.name: ReduceConfig.from_run(trial.config.run) for trial in trials}
    assert len(settings) == len(ablation.arms)
    # No two arms of one captioner are the same reduction.
    made = [(str(trial.config.model.finetuned), vars(settings[trial.arm.name])) for trial in trials if not trial.seed]
    told = [str((captioner, {**keys, "name": ""})) for captioner, keys in made]
    assert len(set(told)) == len(told)


def test_the_sets_of_real_photos_are_compared_with_the_whole_pool_and_a_random_quarter(monkeypatch):
    """In the run folder that they lie in, so that nothing is encoded again."""
    monkeypatch.chdir(ROOT)
    ablation = load_ablation(FLICKR8K_WEB / "proxy.yaml")
    assert (len(ablation.seeds), ablation.proxy.options.num_steps) == (5, 600)
    trials = [trial for trial in Plan(ablation).trials if trial.seed == 0]
    assert {trial.config.run.output_dir for trial in trials} == {"runs/flickr8k_web/reduction"}

    def deciding(run, **changes):
        settings = vars(ReduceConfig.from_run(run)) | {"name": "", "seed": 0, "images": "", "caption_all": True}
        return settings | changes

    paper, best = (load_user_config(FLICKR8K_WEB / name).run for name in ("reduce_paper.yaml", "reduce.yaml"))
    assert [(trial.arm.name, deciding(trial.config.run)) for trial in trials] == [
        ("whole pool", deciding(paper, selection="random", keep_ratio=1.0, recipe="original")),
        ("random quarter", deciding(paper, selection="random", recipe="original")),
        ("paper's quarter, original captions", deciding(paper, recipe="original")),
        ("paper's quarter, joined", deciding(paper)),
        ("paper's quarter, gated", deciding(paper, recipe="gated")),
        ("recommended quarter, original captions", deciding(best, recipe="original")),
        ("recommended quarter, gated, joined", deciding(best, recipe="gated")),
        ("recommended", deciding(best)),
    ]


def test_what_the_comparison_writes_is_collected(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    ablation = load_ablation(FLICKR8K_WEB / "proxy.yaml")
    metrics = dict.fromkeys(ablation.report, 25.0)
    found = {arm.name: {seed: Result({}, metrics, 1790) for seed in ablation.seeds} for arm in ablation.arms}
    runs, results = tmp_path / "flickr8k_web", tmp_path / "results"
    folder = runs / ablation.output_dir.relative_to("runs/flickr8k_web")
    folder.mkdir(parents=True)
    write_report(ablation, summarize(ablation, found), folder)
    for name in ("paper", "best"):
        (runs / "reduction" / name / "build").mkdir(parents=True)
        (runs / "reduction" / name / "build/annotations.json").write_text("[]")
        (runs / "reduction" / name / "summary.json").write_text(json.dumps({"set": name}))
    for name in ("dev", "nocode_dev", "captioner1_pretrain", "captioner2", "nocode2"):
        (runs / name / "result").mkdir(parents=True)
        (runs / name / "log.txt").write_text('{\n  "run": {}\n}\n{"val_cider": 0.5}\n')
        (runs / name / "result/val_epoch0.json").write_text("[]")
    spec = importlib.util.spec_from_file_location("collect_results", FLICKR8K_WEB / "collect_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", results)
    monkeypatch.setattr("sys.argv", ["collect_results.py", "--runs", str(runs)])
    module.main()
    written = {path.name for path in results.iterdir()}
    committed = {path.name for path in (FLICKR8K_WEB / "results").iterdir() if path.stem.split("_")[0] not in OTHERS}
    assert written == committed | {"proxy_seeds.csv"}
    assert "| recommended | 1,790 | 25.00 ± 0.00 |" in (results / "proxy.md").read_text()
    assert json.loads((results / "metrics.json").read_text())["reduction"] == {
        "paper": {"set": "paper"},
        "best": {"set": "best"},
    }


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_the_results_kept_are_the_tables_of_their_seeds(path, tmp_path, monkeypatch):
    """Markdown and CSV as they lie there are what the report writes of the numbers of each arm and seed."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("BLIP_WEIGHTS", raising=False)
    ablation, kept = load_ablation(path), path.parent / "results"
    found: dict[str, dict[int, Result]] = {}
    for row in read_csv(kept / f"{path.stem}_seeds.csv"):
        arm, seed, pairs = (row.pop(name) for name in ("arm", "seed", "pairs"))
        metrics = {name: float(value) for name, value in row.items()}
        found.setdefault(arm, {})[int(seed)] = Result({}, metrics, int(pairs))
    write_report(ablation, summarize(ablation, found), tmp_path)
    for name in (f"{path.stem}.md", f"{path.stem}_seeds.csv"):
        assert (tmp_path / name).read_bytes() == (kept / name).read_bytes()
    now, then = (read_csv(folder / f"{path.stem}.csv") for folder in (tmp_path, kept))
    assert [list(row) for row in now] == [list(row) for row in then]
    # The seeds' numbers have four digits: their mean may differ in the last one.
    assert [numbers(row) for row in now] == [pytest.approx(numbers(row), abs=1.5e-4) for row in then]


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(row):
    return {name: float(value) for name, value in row.items() if name not in ("arm", "note") and value}
