"""The settings by which pairs are scored: short forms, what goes together, and what decides the stage score."""

import pytest
from omegaconf import OmegaConf

from lavis_tldr.runs.stages import STAGES
from lavis_tldr.stages.reduce_config import ReduceConfig

BERT = {"similarity_weights": "bert"}
ARRAYS = {"images": "i.npy", "texts": "t.npy", "keys": "k.txt"}


def config(**run):
    return ReduceConfig.from_run(OmegaConf.create({**BERT, **run}))


@pytest.mark.parametrize(
    ("alignment", "settings"),
    [
        ("contrastive", {"seed": 42, "fit_size": 262_144}),
        ("likelihood", {"seed": 42, "num_contrast": 8}),
        ("similarity", {"seed": 42, "num_contrast": 8}),
        ("both", {"seed": 42, "num_contrast": 8}),
        ("itm", {}),
        ("itc", {}),
    ],
)
def test_what_decides_the_scores_of_before_stays_as_it_was(alignment, settings):
    """Else run folders of before would be refused."""
    found = config(alignment=alignment, blip_weights="x", selection="aligned")
    assert STAGES["score"].settings_of(found) == {"alignment": alignment, "bf16": False, **settings}
    assert found.score_variant == alignment
    assert "mixture" not in STAGES["select"].settings_of(found)


@pytest.mark.parametrize(
    ("run", "variant", "settings"),
    [
        ({"alignment": "normsim"}, "normsim", {"fit_size": 262_144, "normsim_p": "inf", "normsim_of": "pair"}),
        (
            {"alignment": "normsim", "normsim_p": 2, "normsim_of": "image"},
            "normsim-2-image",
            {"fit_size": 262_144, "normsim_p": "2", "normsim_of": "image"},
        ),
        (
            {"alignment": "mixture", "mixture": {"normsim": 0.2, "likelihood": 1}},
            "mixture-likelihood-normsim",
            {
                "fit_size": 262_144,
                "num_contrast": 8,
                "normsim_p": "inf",
                "normsim_of": "pair",
                "scorers": ("likelihood", "normsim"),
            },
        ),
        (
            {"alignment": "mixture", "mixture": "fitted", "mixture_of": ["likelihood", "contrastive"]},
            "mixture-contrastive-likelihood-fitted",
            {
                "fit_size": 262_144,
                "num_contrast": 8,
                "scorers": ("contrastive", "likelihood"),
                "mixture": "fitted",
            },
        ),
    ],
)
def test_variants_and_what_decides_them(run, variant, settings):
    found = config(**run)
    assert found.score_variant == variant
    expected = {"alignment": run["alignment"], "bf16": False, "seed": 42, **settings}
    assert STAGES["score"].settings_of(found) == expected


def test_other_targets_and_embeddings_are_other_variants():
    targets = [{}, {"target": {"format": "folder", "root": "a"}}, {"target": {"format": "folder", "root": "b"}}]
    variants = {config(alignment="normsim", **target).score_variant for target in targets}
    given = [{}, {"given_score": "cosine"}, {"given_temperature": 0.1}, {"embeddings": ARRAYS | {"keys": "x"}}]
    variants |= {config(**{"alignment": "given", "embeddings": ARRAYS, **more}).score_variant for more in given}
    assert len(variants) == 7


def test_given_weights_are_the_selections_alone():
    """So that other weights need no other scores."""
    one, other = (
        config(selection="aligned", alignment="mixture", mixture={"likelihood": 1, "normsim": weight})
        for weight in (0.2, 0.5)
    )
    assert one.score_variant == other.score_variant
    assert STAGES["score"].settings_of(one) == STAGES["score"].settings_of(other)
    assert STAGES["select"].settings_of(one)["mixture"] == {"likelihood": 1, "normsim": 0.2}


def test_weights_add_up_to_1():
    found = config(alignment="mixture", mixture={"normsim": 1, "likelihood": 3.0})
    assert found.score_weights == {"likelihood_gain": 0.75, "normsim": 0.25}
    assert config(alignment="both").score_weights == {"likelihood_gain": 0.5, "similarity": 0.5}


@pytest.mark.parametrize("kind", ["normsim", "likelihood"])
def test_a_kind_of_alignment_as_selection_is_short(kind):
    for found in (config(selection=kind), config(selection=kind, alignment=kind)):
        assert found == config(selection="aligned", alignment=kind)
    found = config(selection="uniform", prefilter=kind)
    assert found == config(selection="uniform", prefilter="aligned", alignment=kind)


def test_the_threshold_of_fitted_weights_is_natural():
    fitted = {"alignment": "mixture", "mixture": "fitted", "mixture_of": ["likelihood"]}
    assert config(**fitted, recipe="gated").gate == 0
    assert config(**fitted, recipe="gated", alignment_threshold=1).gate == 1
    assert config(alignment="mixture", mixture={"likelihood": 1}).gate is None


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"selection": "normsim", "alignment": "contrastive"}, "run.selection normsim is short for .* but contrastive"),
        ({"selection": "normsim", "prefilter": "likelihood"}, "run.prefilter likelihood is short for .* but normsim"),
        ({"selection": "normsin"}, "run.selection is 'normsin'; expected one of random, uniform, aligned"),
        ({"selection": "mixture"}, "run.alignment mixture needs run.mixture, the weights .*; found None"),
        ({"alignment": "mixture", "mixture": {}}, "needs run.mixture, the weights"),
        ({"alignment": "mixture", "mixture": "fited"}, "needs run.mixture, the weights .* found 'fited'"),
        ({"alignment": "mixture", "mixture": "fitted"}, "run.mixture fitted needs run.mixture_of"),
        ({"alignment": "mixture", "mixture": {"constrastive": 1}}, "names 'constrastive', which can't be mixed .did"),
        ({"alignment": "mixture", "mixture": {"both": 1}}, "run.mixture names 'both', which can't be mixed"),
        ({"alignment": "mixture", "mixture": {"normsim": 0}}, "run.mixture.normsim is 0; a weight is a number above 0"),
        ({"alignment": "mixture", "mixture": {"normsim": True}}, "run.mixture.normsim is True"),
        (
            {"alignment": "mixture", "mixture": {"normsim": 1}, "mixture_of": ["normsim"]},
            "run.mixture_of has no say",
        ),
        (
            {"alignment": "mixture", "mixture": "fitted", "mixture_of": ["given"], "embeddings": ARRAYS},
            "given has no scores of these",
        ),
        ({"alignment": "mixture", "mixture": "fitted", "mixture_of": ["similarity"]}, "similarity has no scores"),
        ({"alignment": "mixture", "mixture": 3}, "run.mixture is 3; it must be a mapping or a text"),
        (
            {"alignment": "mixture", "mixture": {"similarity": 1}, "recipe": "gated", "alignment_threshold": 0},
            "compares captions with these, so it can't judge them",
        ),
        (
            {"alignment": "mixture", "mixture": {"likelihood": 1}, "recipe": "gated"},
            "needs run.alignment_threshold.*mixture there is no natural one",
        ),
        ({"alignment": "normsim", "recipe": "gated"}, "needs run.alignment_threshold.*normsim there is no natural one"),
        ({"alignment": "normsim", "normsim_p": 3}, "run.normsim_p is '3'; expected one of inf, 2"),
        ({"alignment": "normsim", "normsim_of": "text"}, "run.normsim_of is 'text'; expected one of pair, image"),
        ({"alignment": "normsim", "target": {"root": "x"}}, "run.target names no format"),
        ({"alignment": "normsim", "target": "photos"}, "run.target is 'photos'; it must be a mapping"),
        (
            {"selection": "normsim", "similarity_weights": ""},
            "set run.similarity_weights .* or run.normsim_of to image",
        ),
        ({"alignment": "given"}, "run.alignment given scores by embeddings that you have: name them in run.embeddings"),
        ({"alignment": "given", "embeddings": {"images": "x"}}, "run.embeddings lacks 'texts'"),
        (
            {"alignment": "given", "embeddings": ARRAYS, "recipe": "gated", "alignment_threshold": 0},
            "gated scores generated captions as well, and run.embeddings knows the original ones alone",
        ),
        ({"alignment": "given", "embeddings": ARRAYS, "given_score": "clip"}, "expected one of negclip, cosine"),
        ({"alignment": "given", "embeddings": ARRAYS, "given_temperature": 0}, "run.given_temperature is 0.0"),
    ],
)
def test_what_does_not_go_together_is_said(run, message):
    with pytest.raises(ValueError, match=message):
        config(**run)


def test_images_alone_need_no_sentence_encoder():
    assert config(selection="normsim", normsim_of="image", similarity_weights="").embed_captions == set()
    assert config(selection="normsim").embed_captions == {"score"}
