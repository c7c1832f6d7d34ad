"""What is wrong with a reduction's config or source is said at once, with what to do."""

import io
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from reductions import reduce_set, tiny_captioner

from lavis_tldr import cli
from lavis_tldr.reduction.refinement import RECIPES, Recipe
from lavis_tldr.runners.runner_stages import RunnerStages
from lavis_tldr.runs.stages import STAGES
from lavis_tldr.stages.reduce_config import ReduceConfig


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"keep_ratio": 0}, r"keep_ratio is 0\.0; it must be above 0 and at most 1"),
        ({"keep_ratio": 1.01}, "keep_ratio is 1.01"),
        ({"keep_ratio": 25}, r"write 0\.25"),
        ({"keep_ratio": "a quarter"}, "run.keep_ratio is 'a quarter'; it must be a number"),
        ({"keep_ratio": None}, "run.keep_ratio is None; it must be a number"),
        ({"num_clusters": 0}, "run.num_clusters is 0; it must be at least 1"),
        ({"alignment_threshold": float("nan")}, "run.alignment_threshold is nan; it must be a number"),
        ({"min_words": -1}, "run.min_words is -1; it must be at least 0"),
        ({"num_clusters": 2.5}, "run.num_clusters is 2.5; it must be a whole number"),
        ({"num_clusters": True}, "run.num_clusters is True"),
        ({"num_clusters": 30, "fit_size": 20}, "run.fit_size is 20, fewer samples than run.num_clusters 30"),
        ({"recipe": "genrated"}, "run.recipe is 'genrated'; expected one of original, generated, .*drawn, gated"),
        ({"selection": "rnd"}, "run.selection is 'rnd'; expected one of random, uniform, aligned"),
        ({"representation": "pixels"}, "expected one of index, histogram, embedding"),
        ({"alignment": "clip"}, "expected one of contrastive, likelihood, similarity, both"),
        ({"images": "copy"}, "expected one of export, in_place"),
        ({"recipe": "gated", "alignment": "itc"}, "needs run.alignment_threshold.*itc there is no natural one"),
        ({"recipe": "gated", "alignment": "similarity"}, "gated scores generated captions .* can't judge them"),
        ({"score_refined": True, "alignment": "both"}, "score_refined scores generated captions .* can't judge them"),
        ({"selection": "aligned", "alignment": "contrastive"}, "set run.similarity_weights to a BERT's folder"),
        ({"balance": 1.5}, r"run.balance is 1\.5; it must be in \[0, 1\]"),
        ({"duplicate_threshold": 0}, r"run.duplicate_threshold is 0\.0"),
        ({"selection": "aligned", "alignment": "likelihood", "duplicate_threshold": 90}, "duplicate_threshold is 90"),
        ({"max_repeats": 0}, r"run.max_repeats is 0; it must be in \[1, 100\]"),
        ({"max_repeats": 2}, "run.max_repeats is 2, but run.selection uniform draws.*aligned.*or run.max_repeats to 1"),
        ({"selection": "random", "max_repeats": 2}, "run.selection random draws"),
        ({"repeat_penalty": -0.5}, r"run.repeat_penalty is -0\.5; it must be at least 0"),
        *(
            ({"concept_cap": cap}, f"run.concept_cap is {cap}; give a whole number.*20000.*share")
            for cap in (0, -3, 1.5)
        ),
        ({"concept_cap": float("nan")}, "run.concept_cap is nan; give"),
        ({"concept_cap": "a tenth"}, "run.concept_cap is 'a tenth'; it must be a whole number or a number"),
        ({"concept_cap": True}, "run.concept_cap is True"),
        ({"num_contrast": 0}, "run.num_contrast is 0"),
        ({"num_beams": 0}, "num_beams 0"),
        ({"min_len": 30}, "0 <= min_length < max_length"),
        ({"name": "encode"}, "run.name is 'encode'; give a plain folder name"),
        ({"name": "../out"}, "give a plain folder name"),
        ({"bf16": "yes"}, "run.bf16 is 'yes'; it must be True or False"),
    ],
)
def test_setting_out_of_range(run, message):
    with pytest.raises(ValueError, match=message):
        ReduceConfig.from_run(run)


def test_a_recipe_that_goes_by_alignment_has_both_captions_scored(monkeypatch):
    monkeypatch.setitem(RECIPES, "better", Recipe(lambda original, **_: ["original"] * len(original), lambda *_: ""))
    assert ReduceConfig.from_run({"recipe": "better", "alignment": "likelihood"}).scores_refined
    assert not ReduceConfig.from_run({"recipe": "drawn", "alignment": "likelihood"}).scores_refined
    with pytest.raises(ValueError, match="run.recipe better needs run.alignment_threshold"):
        ReduceConfig.from_run({"recipe": "better", "alignment": "itc", "blip_weights": "x"})


def test_defaults_are_the_papers_but_for_the_gate():
    config = ReduceConfig.from_run({})
    assert (config.selection, config.keep_ratio, config.num_clusters, config.joiner) == ("uniform", 0.25, 3000, "; ")
    assert (config.recipe, config.alignment) == ("gated_drawn", "likelihood")
    assert ReduceConfig.from_run({"similarity_weights": "bert"}).alignment == "contrastive"
    paper = ReduceConfig.from_run({"recipe": "original_generated"})
    assert not paper.needs_scores


@pytest.mark.parametrize(
    ("run", "recipe"),
    [
        ({"alignment": "likelihood"}, "gated_drawn"),
        ({"alignment": "itm", "blip_weights": "x"}, "gated_drawn"),
        ({"alignment": "itc", "blip_weights": "x"}, "original"),
        ({"alignment": "itc", "blip_weights": "x", "alignment_threshold": 0.3}, "gated_drawn"),
        ({"alignment": "similarity", "similarity_weights": "bert"}, "original"),
        ({"selection": "normsim", "normsim_of": "image"}, "original"),
        ({"selection": "given", "embeddings": {"scores": "x", "column": "y"}}, "original"),
        ({"selection": "given", "embeddings": {"scores": "x", "column": "y"}, "alignment_threshold": 0.3}, "original"),
        ({"selection": "mixture", "mixture": {"likelihood": 1}}, "original"),
        ({"selection": "mixture", "mixture": {"likelihood": 1}, "alignment_threshold": 0.5}, "original"),
        ({"alignment": "mixture", "mixture": {"likelihood": 1}, "alignment_threshold": 0.5}, "gated_drawn"),
        ({"selection": "mixture", "mixture": "fitted", "mixture_of": ["likelihood"]}, "original"),
        ({"selection": "uniform", "prefilter": "aligned"}, "original"),
        ({"selection": "hard_sample"}, "gated_drawn"),
        ({"alignment": "likelihood", "objective": "classification"}, "original"),
        ({"alignment": "likelihood", "recipe": "drawn"}, "drawn"),
    ],
)
def test_captions_are_gated_by_default_where_the_alignment_can_judge_them(run, recipe):
    assert ReduceConfig.from_run(run).recipe == recipe


def test_a_concept_cap_is_a_number_or_a_share():
    assert [ReduceConfig.from_run({"concept_cap": cap}).concept_cap for cap in (1, 20_000, 0.25, None)] == [
        *(1, 20_000, 0.25, None)
    ]
    select = STAGES["select"]
    assert not {"concept_cap", "keep_unmatched", "max_repeats", "repeat_penalty"} & set(
        select.settings_of(ReduceConfig.from_run({"selection": "large_distance"}))
    )
    capped = select.settings_of(ReduceConfig.from_run({"concept_cap": 0.25, "keep_unmatched": False}))
    assert (capped["concept_cap"], capped["keep_unmatched"]) == (0.25, False)
    repeated = select.settings_of(ReduceConfig.from_run({"selection": "large_distance", "max_repeats": 3}))
    assert (repeated["max_repeats"], repeated["repeat_penalty"]) == (3, 0.5)


def test_whole_numbers_pass_as_shares_and_one_stage_as_a_list():
    config = ReduceConfig.from_run({"keep_ratio": 1, "stages": "encode", "restart": ["select", "build"]})
    assert config.keep_ratio == 1.0
    assert config.stages == ("encode",)
    assert config.restart == ("select", "build")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["run.stages=[encod]"], "there is no stage 'encod' .did you mean 'encode'"),
        (["run.restart=refin"], "there is no stage 'refin'"),
        (["run.keep_ratios=0.5"], r"unknown key run\.keep_ratios \(did you mean 'keep_ratio'"),
        (["model.num_code=8"], r"unknown key model\.num_code \(did you mean 'num_codes'"),
        (["datasets.tldr_source.sauce=x"], r"unknown key datasets\.tldr_source\.sauce"),
        (["datasets.tldr_source.source.tar=x"], "Unknown key 'tar'.*did you mean 'tars'"),
        (["datasets.tldr_source.source.tars=absent/*.tar"], "No tars at 'absent"),
        (["datasets.tldr_source.source.format=tfds"], "has format 'tfds'; the formats are"),
        (["model.finetuned=absent.pth"], "model.finetuned: there is no file absent.pth"),
        (["model.load_finetuned=False"], "a reduction needs a trained captioner"),
        (["model.num_codes=16"], "does not fit this model"),
        (
            ["datasets.tldr_source.vis_processor.eval.image_size=64"],
            "of 64 x 64, but the captioner takes 32 x 32",
        ),
        (["run.num_clusters=44"], "run.num_clusters is 44, but only 43 samples can be used. Set it to 2"),
        (["run.feature_cache=absent"], "run.feature_cache: there is no folder absent"),
        (["run.runner=runner_cpu"], "needs run.runner: runner_stages; found runner_cpu"),
        (["run.task=tldr_score", "run.alignment=both"], "set run.similarity_weights"),
        (
            ["run.selection=aligned", "run.alignment=both", "run.similarity_weights=no/such/bert"],
            "text weights 'no/such/bert': no such folder",
        ),
    ],
)
def test_what_is_wrong_with_a_run_is_said(configure, monkeypatch, options, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=message):
        reduce_set(configure(), *options)


def test_missing_weights_are_told_before_the_source_is_read(configure, tmp_path):
    options = ["datasets.tldr_source.source.tars=absent/*.tar"]
    with pytest.raises(ValueError, match="there is no file absent.pth"):
        reduce_set(configure(), *options, "model.finetuned=absent.pth")
    with pytest.raises(ValueError, match="set run.similarity_weights"):
        reduce_set(configure(), *options, "run.selection=aligned", "run.alignment=similarity")
    (tmp_path / "bert").mkdir()
    with pytest.raises(ValueError, match=r"bert is no BERT in Hugging Face layout.*config\.json"):
        reduce_set(
            configure(),
            "run.selection=aligned",
            "run.alignment=similarity",
            f"run.similarity_weights={tmp_path / 'bert'}",
        )
    assert not (tmp_path / "out").exists()


def test_command_line_runs_one_stage_and_says_errors_in_a_line(configure, tmp_path, capsys):
    config = str(configure())
    assert cli.main(["reduce", "--cfg-path", config, "--stage", "encode"]) == 0
    assert not (tmp_path / "out/reduced").exists()
    assert cli.main(["reduce", "--cfg-path", config, "--options", "run.keep_ratio=3"]) == 2
    assert "lavis-tldr: error: keep_ratio is 3" in capsys.readouterr().err
    assert cli.main(["reduce", "--cfg-path", config, "--options", "run.bf16=True"]) == 2
    assert "config.bf16: false -> true" in capsys.readouterr().err
    assert cli.main(["reduce", "--cfg-path", config, "--restart", "encode", "--options", "run.bf16=True"]) == 0


def test_runner_stages_is_for_stages_alone(tmp_path):
    cfg = SimpleNamespace(run_cfg=SimpleNamespace(output_dir=str(tmp_path), task="captioning"))
    with pytest.raises(ValueError, match="runner_stages is for tasks such as tldr_reduce; captioning trains"):
        RunnerStages(cfg, task=object(), model=None, datasets={}, job_id="job")


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_key_doubled_across_tars_names_both(configure, pool, tmp_path):
    with tarfile.open(pool.folder / "tars/00000.tar") as tar:
        members = {name: tar.extractfile(name).read() for name in tar.getnames()}
    write_tar(tmp_path / "a.tar", members)
    write_tar(tmp_path / "b.tar", members)
    tars = f"datasets.tldr_source.source.tars={tmp_path / '*.tar'}"
    with pytest.raises(ValueError, match="occurs twice, in part a and in part b.*key_prefix: true"):
        reduce_set(configure(), tars)
    prefixed = [tars, "datasets.tldr_source.source.key_prefix=True", "run.restart=encode"]
    assert reduce_set(configure(), *prefixed)["counts"]["read"] == 32


def test_source_without_one_usable_record(configure, tmp_path):
    write_tar(tmp_path / "bad.tar", {"a.jpg": b"no image", "a.txt": b"a dog", "b.txt": b"a cat"})
    with pytest.raises(ValueError, match=r"none of the 2 records can be used \(first error: unreadable image"):
        reduce_set(configure(), f"datasets.tldr_source.source.tars={tmp_path / 'bad.tar'}")


def test_frozen_weights_that_the_checkpoint_leaves_out_must_be_those_trained_over(configure, pool, tmp_path):
    """An untrained image encoder in place of the one trained over would give codes of nothing, unnoticed."""
    captions = [fact["true_caption"] for fact in pool.truth.values()]
    model = tiny_captioner(tmp_path, captions)
    encoder = {name.removeprefix("visual_encoder."): w for name, w in model.state_dict().items() if "visual_" in name}
    torch.save(encoder, tmp_path / "vit.pth")
    state = {name: w for name, w in model.state_dict().items() if not name.startswith("visual_encoder.")}
    torch.save({"model": state}, tmp_path / "light.pth")
    light = [f"model.finetuned={tmp_path / 'light.pth'}", "run.stages=[encode]"]
    with pytest.raises(ValueError, match=r"leaves out the visual encoder.*model\.vit_weights"):
        reduce_set(configure(), *light)
    reduce_set(configure(), *light, f"model.vit_weights={tmp_path / 'vit.pth'}")
    full = f"model.finetuned={pool.captioner}"
    assert reduce_set(configure(), full, "run.stages=[encode]")["stages"]["encode"]["counts"]["written"] == 43


def test_a_text_left_empty_is_none():
    assert ReduceConfig.from_run({"prefilter": None}).prefilter == ""
    with pytest.raises(ValueError, match="set run.similarity_weights"):
        ReduceConfig.from_run({"selection": "aligned", "alignment": "contrastive", "similarity_weights": None})
