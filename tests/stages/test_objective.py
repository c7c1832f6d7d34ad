"""``run.objective`` gives defaults to settings that the config leaves out, and decides nothing else."""

from dataclasses import fields, replace

import pytest
from omegaconf import OmegaConf
from reductions import reduce_set

from lavis_tldr.ablation.reductions import deciding
from lavis_tldr.reduction.objectives import OBJECTIVES, Default
from lavis_tldr.runs.stages import STAGES, used_stages, variants_of
from lavis_tldr.stages.reduce_config import ReduceConfig

WEIGHTS = {"similarity_weights": "some/bert"}
DEFAULTS = {field.name: field.default for field in fields(ReduceConfig)}


def test_none_leaves_the_defaults():
    for run in ({}, {"objective": ""}, {"objective": None}):
        assert vars(ReduceConfig.from_run({**run, **WEIGHTS})) == {**DEFAULTS, **WEIGHTS}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_sets_what_its_table_says_and_nothing_else(objective):
    config = ReduceConfig.from_run({"objective": objective, **WEIGHTS})
    table = {name: default.value for name, default in OBJECTIVES[objective].items()}
    assert vars(config) == {**DEFAULTS, **WEIGHTS, "objective": objective, **table}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_is_as_if_its_values_were_written_out(objective):
    config = ReduceConfig.from_run({"objective": objective, **WEIGHTS})
    written = replace(config, objective="")
    assert used_stages(config) == used_stages(written) and variants_of(config) == variants_of(written)
    for spec in STAGES.values():
        assert spec.settings_of(config) == spec.settings_of(written)


def test_explicit_keys_win_also_where_they_say_the_usual_default():
    run = {"objective": "retrieval", **WEIGHTS, "balance": 1.0, "duplicate_threshold": None, "min_words": 0}
    config = ReduceConfig.from_run(OmegaConf.create(run))
    assert (config.balance, config.duplicate_threshold, config.min_words) == (1.0, None, 0)
    assert (config.selection, config.recipe) == ("aligned", "original")


def test_a_short_form_of_alignment_goes_before_the_objectives():
    config = ReduceConfig.from_run({"objective": "retrieval", "selection": "normsim", "recipe": "original", **WEIGHTS})
    assert (config.selection, config.alignment, config.balance) == ("aligned", "normsim", 0.5)


def test_a_misspelt_one():
    with pytest.raises(ValueError, match=r"run.objective is 'retreival' \(did you mean 'retrieval'\?\)"):
        ReduceConfig.from_run({"objective": "retreival"})
    with pytest.raises(ValueError, match=r"known: both, classification, retrieval"):
        ReduceConfig.from_run({"objective": 3})


def test_an_error_says_where_a_value_comes_from():
    run = {"objective": "retrieval", **WEIGHTS, "alignment": "similarity"}
    with pytest.raises(ValueError, match=r"set run.similarity_weights.*retrieval sets alignment contrastive"):
        ReduceConfig.from_run({"objective": "retrieval"})
    with pytest.raises(ValueError, match="itm or itc.$"):
        ReduceConfig.from_run({**run, "objective": "", "recipe": "gated"})
    classes = {"objective": "classification", **WEIGHTS, "keep_ratio": 0.6}
    with pytest.raises(ValueError, match="prefilter_share 0.5 leaves fewer.*classification sets prefilter_share 0.5;"):
        ReduceConfig.from_run(classes)


def test_the_run_holds_resolved_values(configure, tmp_path):
    """And goes on from its own config.yaml, whatever the table says by then."""
    keys = {"objective": "retrieval", "recipe": "original", "duplicate_threshold": None, "images": "in_place"}
    reduce_set(configure(**keys))
    made = OmegaConf.load(tmp_path / "out/reduced/config.yaml").run
    assert made.objective == "retrieval" and made.alignment == "likelihood"  # the helper's own: explicit
    assert (made.selection, made.balance, made.min_words, made.recipe) == ("aligned", 0.5, 4, "original")
    assert made.duplicate_threshold is None and "quota" not in made
    select = (tmp_path / "out/reduced/select/manifest.json").read_text()
    assert '"balance": 0.5' in select and "objective" not in select
    written = {name: made[name] for name in ("selection", "balance", "min_words")}
    reduce_set(configure(**{**keys, **written, "objective": ""}))  # refused if a manifest told the two apart


def test_an_ablation_s_arm_is_another_where_the_table_has_changed(monkeypatch):
    config = OmegaConf.create({"run": {"objective": "both", "recipe": "original", "name": "x"}})
    before = deciding(config)
    assert before["run"]["balance"] == 0.75 and before["run"]["recipe"] == "original" and "name" not in before["run"]
    monkeypatch.setitem(OBJECTIVES, "both", {"balance": Default(0.6, "tuned")})
    assert deciding(config)["run"] == {"objective": "both", "recipe": "original", "balance": 0.6}
