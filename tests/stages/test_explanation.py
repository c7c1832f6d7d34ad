"""What `reduce --explain` finds out, without weights: from the table of stages, the settings and the run folder."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from reductions import files_of, reduce_set, write_bert

from lavis_tldr.api import explain
from lavis_tldr.runs import stages as table
from lavis_tldr.runs.stages import STAGES, Setting
from lavis_tldr.stages.explanation import idle_settings, meanings, settings_behind
from lavis_tldr.stages.needs import needs_of
from lavis_tldr.stages.reduce_config import ReduceConfig

ALL = tuple(STAGES)


def states(facts):
    return {stage["name"]: stage["state"] for stage in facts["stages"]}


def idle(**run):
    config = ReduceConfig.from_run(run, needs_weights=False)
    return {found["name"]: found["when"] for found in idle_settings(config, set(run), ALL)}


def test_every_setting_of_the_table_is_shown_by_settings_of_the_run():
    for spec in STAGES.values():
        for setting in spec.settings:
            assert setting.by_stage or settings_behind(setting), f"{spec.name}.{setting.name}: name them in its note"


def test_settings_behind_by_hand():
    assert settings_behind(Setting("seed", of="alignment_seed")) == ["alignment_seed"]
    assert settings_behind(Setting("alignment_threshold", of="gate")) == ["alignment_threshold"]
    assert settings_behind(Setting("decoding", of="decoding_settings", note="num_beams, max_len")) == [
        "num_beams",
        "max_len",
    ]
    assert settings_behind(Setting("seed", by_stage=True)) == []


def test_each_setting_has_its_meaning():
    known = meanings()
    assert {field.name for field in fields(ReduceConfig)} == set(known)
    assert known["keep_ratio"] == "Share of the samples to keep"
    assert known["selection"] == "Which samples are kept"


@pytest.mark.parametrize(
    ("run", "found"),
    [
        ({"duplicate_by": "feature"}, {"duplicate_by"}),
        ({"duplicate_by": "feature", "duplicate_threshold": 0.9}, set()),
        ({"balance": 0.5, "selection": "uniform"}, {"balance"}),
        ({"balance": 0.5, "selection": "large_distance"}, set()),
        ({"density_temperature": 1.0, "quota": "size"}, {"density_temperature"}),
        ({"density_temperature": 1.0, "quota": "density"}, set()),
        ({"density_temperature": 1.0, "quota": "density", "selection": "random"}, {"density_temperature", "quota"}),
        # Off by their own value, not idle.
        ({"quota": "size", "min_words": 0, "prefilter": "", "duplicate_threshold": None}, set()),
        ({"prefilter_share": 0.4}, {"prefilter_share"}),
        ({"alignment": "likelihood", "num_contrast": 4, "recipe": "drawn"}, {"alignment", "num_contrast"}),
        ({"alignment": "likelihood", "num_contrast": 4, "selection": "aligned"}, set()),
        (
            {"alignment": "itm", "score_refined": True, "alignment_threshold": 0.1, "recipe": "drawn"},
            {"alignment_threshold"},
        ),
        ({"similarity_weights": "bert", "recipe": "drawn"}, {"similarity_weights"}),
        ({"similarity_weights": "bert"}, set()),
        ({"similarity_weights": "bert", "representation": "text"}, set()),
        ({"blip_weights": "blip", "selection": "aligned", "alignment": "likelihood"}, {"blip_weights"}),
        ({"tfidf": True, "representation": "index"}, {"tfidf"}),
        ({"normsim_p": 2, "target": {"format": "folder", "root": "x"}}, {"normsim_p", "target"}),
        ({"normsim_p": 2, "target": {"format": "folder", "root": "x"}, "selection": "normsim"}, set()),
        ({"embeddings": {"scores": "x", "column": "y"}, "given_score": "cosine"}, {"embeddings", "given_score"}),
        ({"embeddings": {"scores": "x", "column": "y"}, "given_score": "cosine", "selection": "given"}, set()),
        ({"selection": "mixture", "mixture": {"likelihood": 1}}, set()),
        ({"selection": "mixture", "mixture": "fitted", "mixture_of": ["likelihood"]}, set()),
        ({"alignment": "likelihood", "selection": "aligned", "mixture": "fitted"}, {"mixture"}),
        ({"tfidf": True, "representation": "index", "duplicate_threshold": 0.9}, set()),
        ({"recipe": "original", "joiner": "; ", "seed": 1, "images": "export", "name": "x"}, set()),
    ],
)
def test_settings_without_a_say(run, found):
    assert set(idle(**run)) == found


def test_what_would_give_a_setting_a_say():
    assert idle(balance=0.5) == {"balance": "where a criterion selects"}
    assert idle(duplicate_by="feature") == {"duplicate_by": "where near duplicates are dropped"}
    assert idle(num_contrast=3, recipe="drawn") == {"num_contrast": "where the captioner scores"}


def test_a_task_that_only_scores_has_no_use_for_what_selects():
    config = ReduceConfig.from_run({"alignment": "likelihood", "keep_ratio": 0.5})
    found = idle_settings(config, {"alignment", "keep_ratio"}, ["encode", "score"])
    assert [one["name"] for one in found] == ["keep_ratio"]


def test_a_new_setting_shows_up_by_itself(configure, monkeypatch):
    """Here one that the table of select has not had: how captions are decoded."""
    spec = STAGES["select"]
    added = replace(spec, settings=(*spec.settings, Setting("num_beams", when=lambda c: c.num_beams > 1)))
    monkeypatch.setitem(table.STAGES, "select", added)
    facts = explain(configure(num_beams=2))
    select = next(stage for stage in facts["stages"] if stage["name"] == "select")
    assert "num_beams" in select["settings"]


def test_where_values_come_from(configure):
    facts = explain(configure(objective="both", balance=0.5))
    settings = facts["settings"]
    assert settings["balance"] == {
        "value": 0.5,
        "from": "config",
        "why": "Share of the budget that a criterion gives out by cluster",
    }
    assert (settings["min_words"]["value"], settings["min_words"]["from"]) == (3, "objective")
    assert settings["min_words"]["why"] == "short names stay, bare words go"
    assert (settings["keep_ratio"]["value"], settings["keep_ratio"]["from"]) == (0.25, "default")
    assert facts["config"]["recipe"] == "original"


def test_states_as_a_run_goes_on(configure, tmp_path):
    config = configure(images="in_place", recipe="original")
    before = {"encode", "cluster", "select", "refine", "ledger", "build"}
    assert states(explain(config)) == dict.fromkeys(before, "to run")
    assert not (tmp_path / "out").exists()
    reduce_set(config, "run.stages=[encode,cluster]")
    assert states(explain(config)) == dict.fromkeys(before, "to run") | {"encode": "done", "cluster": "done"}
    reduce_set(config)
    everything = files_of(tmp_path / "out")
    assert states(explain(config)) == dict.fromkeys(before, "done")
    assert states(explain(config, restart="refine")) == dict.fromkeys(before, "done") | dict.fromkeys(
        ("refine", "ledger", "build"), "made anew"
    )
    # Another value is refused as the run would refuse it; another set or variant begins anew.
    changed = explain(config, options=["run.keep_ratio=0.5"])
    assert states(changed) == dict.fromkeys(before, "done") | {"select": "refused"}
    assert next(s for s in changed["stages"] if s["name"] == "select")["changes"] == ["keep_ratio: 0.25 -> 0.5"]
    with pytest.raises(ValueError, match=r"keep_ratio: 0.25 -> 0.5"):
        reduce_set(config, "run.keep_ratio=0.5")
    other = states(explain(config, options=["run.name=other", "run.num_clusters=3"]))
    assert other == dict.fromkeys(before, "to run") | {"encode": "done"}
    variant = explain(config, options=["run.num_clusters=3"])
    assert states(variant)["cluster"] == "to run" and states(variant)["select"] == "refused"
    (change,) = next(s for s in variant["stages"] if s["name"] == "select")["changes"]
    assert change == "cluster: histogram-tfidf-4-seed42 -> histogram-tfidf-3-seed42"
    scored = explain(config, options=["run.selection=aligned"])
    told = next(s for s in scored["stages"] if s["name"] == "select")["changes"]
    assert "score: not made from it, and now to be" in told and 'selection: "uniform" -> "aligned"' in told
    assert everything == files_of(tmp_path / "out")


def test_states_of_a_stage_that_is_not_whole(configure, tmp_path):
    config = configure(images="in_place", recipe="original")
    reduce_set(config)
    part = tmp_path / "out/encode/00001.parquet"
    whole = part.read_bytes()
    part.unlink()
    facts = explain(config)
    assert states(facts)["encode"] == "to go on"
    assert next(stage for stage in facts["stages"] if stage["name"] == "encode")["parts"] == 2
    assert explain(config, stage="select")["unfinished"] == ["encode"]
    part.write_bytes(whole + b"x")
    assert states(explain(config))["encode"] == "refused"
    part.write_bytes(whole)
    manifest = tmp_path / "out/encode/manifest.json"
    made = json.loads(manifest.read_text())
    made["inputs"]["model"] = "another"
    manifest.write_text(json.dumps(made))
    changes = {stage["name"]: stage["changes"] for stage in explain(config)["stages"]}
    assert changes["cluster"] == ["encode: made anew since"] and changes["encode"] == []


def test_needs(pool, tmp_path):
    bert = write_bert(tmp_path / "bert")
    config = ReduceConfig.from_run({"selection": "aligned", "similarity_weights": str(bert), "feature_cache": "no"})
    model = {"load_finetuned": True, "finetuned": str(pool.captioner), "vit_weights": "absent.pth"}
    datasets = {"tldr_source": {"source": pool.source}}
    found = {need["what"]: need for need in needs_of(config, model, datasets, ["encode", "score"])}
    assert {what: need["found"] for what, need in found.items()} == {
        "the captioner": True,
        "its image encoder": False,
        "the source": True,
        "sentence encoder": True,
        "trusted pairs": None,
        "cached features": False,
    }
    assert found["the source"]["note"] == "3 files"
    unloaded = needs_of(config, {**model, "load_finetuned": False}, datasets, [])[0]
    assert unloaded["found"] is False and "model.load_finetuned: True" in unloaded["note"]
    trusted = {"format": "lavis_json", "annotations": "absent.json", "image_root": str(tmp_path)}
    datasets["tldr_captions"] = {"train": trusted}
    found = {need["setting"]: need["found"] for need in needs_of(config, {}, datasets, ["score"])}
    assert found == {
        "model.finetuned": False,
        "datasets.tldr_source.source.tars": True,
        "run.similarity_weights": True,
        "datasets.tldr_captions.train.annotations": False,
        "datasets.tldr_captions.train.image_root": True,
    }
    assert "sentence encoder" not in {need["what"] for need in needs_of(config, {}, datasets, ["encode"])}


@pytest.mark.parametrize(
    ("weights", "found"),
    [("", False), ("./bert", False), ("runs/weights/bert", False), ("org/bert", None), ("bert-base-uncased", None)],
)
def test_a_sentence_encoder_that_is_no_folder_may_be_the_hub_s(weights, found):
    config = ReduceConfig.from_run({"alignment": "contrastive", "similarity_weights": weights}, needs_weights=False)
    needs = {need["what"]: need["found"] for need in needs_of(config, {}, {}, ["score"])}
    assert needs["sentence encoder"] is found


def test_what_scores_go_by(tmp_path):
    def needs(datasets=None, **run):
        config = ReduceConfig.from_run({"normsim_of": "image", **run}, needs_weights=False)
        found = needs_of(config, {}, datasets or {}, ["score"])
        return {need["setting"]: need["found"] for need in found if need["what"] not in ("the captioner", "the source")}

    trusted = {"format": "folder", "root": str(tmp_path)}
    assert needs(selection="normsim", target=trusted) == {"run.target.root": True}
    assert needs(selection="normsim") == {"datasets.tldr_captions.train": False}
    known = {"tldr_captions": {"train": trusted}}
    assert needs(known, selection="normsim") == {"datasets.tldr_captions.train.root": True}
    fitted = {"selection": "mixture", "mixture": "fitted", "mixture_of": ["likelihood"]}
    assert needs(**fitted) == {"datasets.tldr_captions.train": False}
    (tmp_path / "a.npy").touch()
    arrays = {"images": str(tmp_path / "a.npy"), "texts": "absent.npy", "keys": "absent.txt"}
    assert needs(selection="given", embeddings=arrays) == {
        "run.embeddings.images": True,
        "run.embeddings.texts": False,
        "run.embeddings.keys": False,
    }
    table = {"scores": str(tmp_path / "*.npy"), "column": "clip"}
    assert needs(selection="given", embeddings=table) == {"run.embeddings.scores": True}


def test_blip(tmp_path):
    (tmp_path / "blip.pth").touch()
    run = {"selection": "aligned", "alignment": "itm"}
    for weights, found in (("", False), (str(tmp_path / "blip.pth"), True)):
        config = ReduceConfig.from_run({**run, "blip_weights": weights}, needs_weights=False)
        needs = {need["what"]: need["found"] for need in needs_of(config, {}, {}, ["score"])}
        assert needs["BLIP"] is found and "trusted pairs" not in needs


def test_only_reductions_are_explained():
    training = Path(__file__).parents[2] / "projects/tldr/quickstart/captioner_pretrain.yaml"
    with pytest.raises(ValueError, match="run.task is codebook_captioning; what is explained is a reduction"):
        explain(training)
