"""The ablations of the repository: every arm of each is a reduction that could start."""

from pathlib import Path

import pytest

from lavis_tldr.ablation.settings import load_ablation
from lavis_tldr.ablation.trials import Plan
from lavis_tldr.stages.reduce_config import ReduceConfig

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "projects/tldr/ablations").glob("*.yaml"))


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
