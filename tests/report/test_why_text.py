"""The ledger's reasons in words, each written out by hand."""

import itertools

import pytest

from lavis_tldr.reduction.criteria import CRITERIA
from lavis_tldr.reduction.refinement import ORIGINS, RECIPES, Origin, Recipe, refine_captions
from lavis_tldr.report.why_text import explain_caption, explain_outcome

SCORE = {"rank": 20, "of": 60, "lowest_kept": 0.41}
RANKED = {"size": 60, "kept": 15, "num_filtered": 0, "num_repeats": 0, "score": SCORE}
ALIGNED, UNIFORM = {"selection": "aligned"}, {"selection": "uniform", "seed": 42}


def explain(reason, standing=RANKED, score=0.3, selection=ALIGNED, **told):
    return explain_outcome(reason, standing, selection=selection, score=score, **told)


def test_low_alignment():
    assert explain("dropped: low alignment") == (
        "dropped: low alignment: 20th best alignment of the 60 in its cluster, of which 15 are kept, the last with 0.41"
    )


def test_kept_by_alignment():
    standing = RANKED | {"num_repeats": 12, "score": SCORE | {"rank": 1, "of": 48}}
    assert explain("kept", standing, 0.9) == (
        "kept: best alignment of the 48 in its cluster that repeat no other, of which 15 are kept, the last with 0.41"
    )
    assert "cluster that passed the filter and repeat no other, of" in explain("kept", standing | {"num_filtered": 3})
    assert "cluster that passed the filter, of" in explain("kept", RANKED | {"num_filtered": 3})


@pytest.mark.parametrize(
    ("criterion", "reason", "told"),
    [
        ("large_distance", "near its centroid", "20th farthest from its centroid of the 60"),
        ("hard_sample", "near its prototype", "20th farthest from its prototype of the 60"),
        ("easy_sample", "far from its prototype", "20th nearest to its prototype of the 60"),
        ("gradient", "small gradient", "20th largest gradient of the 60"),
    ],
)
def test_other_criteria(criterion, reason, told):
    selection = {"selection": criterion}
    # The easy end keeps the least distance, and scores are its negative.
    lowest = -0.41 if criterion == "easy_sample" else 0.41
    standing = RANKED | {"score": SCORE | {"lowest_kept": lowest}}
    assert explain(f"dropped: {reason}", standing, selection=selection) == (
        f"dropped: {reason}: {told} in its cluster, of which 15 are kept, the last with 0.41"
    )
    assert explain("kept", standing, selection=selection).startswith(f"kept: {told}")


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_has_its_words(criterion):
    """One that is added to the table is told of without a change elsewhere."""
    its = CRITERIA[criterion]
    options = {"prefilter": criterion, "prefilter_share": 0.5, "prefilter_scope": "all"}
    selection = {"selection": criterion, **options}
    standing = RANKED | {"score": SCORE | {"rank": 2}, "filter": {"rank": 3, "of": 60}}
    assert explain(f"dropped: {its.shortcoming}", standing, selection=selection).startswith(
        f"dropped: {its.shortcoming}: 2nd {its.best} of the 60 in its cluster, of which 15 are kept"
    )
    told = explain(f"dropped: filtered: {its.shortcoming}", standing, None, UNIFORM | options)
    assert told.endswith(f": 3rd {its.best} of the 60 in its cluster; the best 50.0% of all samples passed")
    told = explain("dropped: not drawn", {"size": 60, "kept": 15}, None, selection)
    assert told == f"dropped: not drawn: it has no {its.measure}, and samples with one go first"


def test_of_equals_the_draw_decides():
    standing = RANKED | {"score": SCORE | {"rank": 15}}
    told = explain("dropped: low alignment", standing, 0.41)
    assert told.endswith("15 are kept, the last with 0.41 as well: of equals, the draw decides")
    assert not explain("kept", standing, 0.41).endswith("decides")


def test_none_of_the_cluster_is_kept():
    told = explain("dropped: low alignment", RANKED | {"kept": 0, "score": SCORE | {"lowest_kept": None}})
    assert told.endswith("of the 60 in its cluster, of which none is kept")


def test_draws():
    draw = {"rank": 23, "of": 60, "kept": 15}
    assert explain("dropped: not drawn", {"draw": draw}, None, UNIFORM) == (
        "dropped: not drawn: 23rd of 60 in its cluster's draw (seed 42), of which 15 are kept"
    )
    assert explain("kept", {"draw": draw | {"rank": 1, "kept": 1}}, None, UNIFORM | {"seed": 0}) == (
        "kept: 1st of 60 in its cluster's draw (seed 0), of which 1 is kept"
    )
    over_all = {"selection": "random", "seed": 7}
    assert explain("kept", {"draw": {"rank": 1234, "of": 7161, "kept": 1790}}, None, over_all) == (
        "kept: 1,234th of 7,161 in the draw from all (seed 7), of which 1,790 are kept"
    )


def test_not_drawn_among_scored_samples():
    standing = {"size": 60, "kept": 15}
    assert explain("dropped: not drawn", standing, None) == (
        "dropped: not drawn: it has no alignment score, and samples with one go first"
    )
    assert explain("dropped: not drawn", standing, None, {"selection": "gradient"}) == (
        "dropped: not drawn: it has no gradient, and samples with one go first"
    )


def test_filtered():
    selection = UNIFORM | {"prefilter": "aligned", "prefilter_share": 0.5, "prefilter_scope": "all"}
    told = "dropped: filtered: low alignment"
    assert explain(told, {"filter": {"rank": 41, "of": 60}}, None, selection) == (
        f"{told}: 41st best alignment of the 60 in its cluster; the best 50.0% of all samples passed"
    )
    # A gradient is in no table but its own.
    selection |= {"prefilter": "gradient", "prefilter_scope": "cluster"}
    told = "dropped: filtered: small gradient"
    assert explain(told, RANKED, None, selection) == f"{told}: the best 50.0% of each cluster passed"


def test_filtered_for_a_short_caption():
    selection = {"selection": "uniform", "min_words": 6}
    told = explain("dropped: filtered: short caption", RANKED, None, selection)
    assert told == "dropped: filtered: short caption: the original has fewer than 6 words"


def test_near_duplicate_says_what_became_of_the_twin():
    assert explain("dropped: near duplicate of a\nb", twin="dropped: low alignment") == (
        r"dropped: near duplicate of a\nb, which has the better claim; that one: dropped: low alignment"
    )
    assert explain("dropped: near duplicate of a").endswith("that one: not in the ledger")


def test_repair():
    assert explain("kept: stands in for k1", twin="dropped: image gone missing") == (
        "kept: stands in for k1, as the next understudy of its cluster; that one: dropped: image gone missing"
    )
    lost = "dropped: image gone missing"
    assert explain(lost) == f"{lost}: no understudy was left to stand in for it"
    assert explain(lost, stand_ins=["k2"]) == f"{lost}: k2 was taken to stand in for it"
    assert explain(lost, stand_ins=["k2", "\x1b", "k4"]) == (
        f"{lost}: k4 was taken to stand in for it, after k2, \\x1b, lost as well"
    )


def test_an_understudy_whose_own_image_is_lost():
    told = explain("dropped: low alignment", is_passed_over=True)
    assert told.startswith("dropped: low alignment: 20th best")
    assert told.endswith("; it was to stand in for a lost one, but its own image has gone missing as well")


def test_failed():
    assert explain("failed: unreadable image: \x1b", {}, None) == (
        r"failed: unreadable image: \x1b; so it was neither clustered nor scored"
    )


def test_a_reason_of_another_version_is_shown_as_it_is():
    assert explain("dropped: too plain", {}) == "dropped: too plain"


@pytest.mark.parametrize(
    ("origin", "recipe", "original", "generated", "told"),
    [
        ("original", "original", "o", "", "the original, as recipe original says"),
        ("generated", "generated", "o", "g", "the generated one, as recipe generated says"),
        ("original_generated", "original_generated", "o", "g", "both, joined, as recipe original_generated says"),
        ("drawn", "drawn", "o", "g", "both, one of them drawn at every epoch of training, as recipe drawn says"),
        ("original", "original_generated", "o", " ", "the original: the generated one is empty"),
        ("original", "gated", "o", " ", "the original: the generated one is empty"),
        ("generated", "original", "", "g", "the generated one: the original one is empty"),
        ("generated", "drawn", "", "g", "the generated one: the original one is empty"),
        ("", "original", "", "", "none: the original and the generated one are empty"),
    ],
)
def test_captions(origin, recipe, original, generated, told):
    assert explain_caption(origin, {"recipe": recipe}, [None, None], original, generated) == told


@pytest.mark.parametrize(
    ("origin", "alignments", "told"),
    [
        ("original_generated", (0.52, 0.4), "both, joined: their alignments 0.52 and 0.4 reach the threshold 0.4"),
        (
            "original",
            (0.52, 0.12),
            "the original: its alignment 0.52 reaches the threshold 0.4, the other's 0.12 does not",
        ),
        (
            "generated",
            (None, 0.52),
            "the generated one: its alignment 0.52 reaches the threshold 0.4, the other's none does not",
        ),
        (
            "generated",
            (0.1, 0.2),
            "the generated one: neither reaches the threshold 0.4; its alignment 0.2 is not below the other's 0.1",
        ),
        (
            "original",
            (0.1, 0.1),
            "the original: neither reaches the threshold 0.4; its alignment 0.1 is not below the other's 0.1",
        ),
    ],
)
def test_gated_captions(origin, alignments, told):
    refine = {"recipe": "gated", "alignment_threshold": 0.4}
    assert explain_caption(origin, refine, alignments, "o", "g") == told


@pytest.mark.parametrize(
    ("origin", "alignments", "told"),
    [
        (
            "generated",
            (0.1, 0.6),
            "the generated one: its alignment 0.6 reaches the threshold 0.4, the other's 0.1 does not",
        ),
        ("original", (0.3, 0.5), "the original: the other's alignment 0.5 is not above its own 0.3 by the margin 0.25"),
        (
            "original",
            (0.1, 0.3),
            "the original: neither reaches the threshold 0.4; the other's alignment 0.3 is not above its own 0.1 by "
            "the margin 0.25",
        ),
        (
            "generated",
            (-0.1, 0.3),
            "the generated one: neither reaches the threshold 0.4; its alignment 0.3 is not below the other's -0.1, "
            "but above it by the margin 0.25",
        ),
    ],
)
def test_gated_captions_with_a_margin(origin, alignments, told):
    refine = {"recipe": "gated", "alignment_threshold": 0.4, "gate_margin": 0.25}
    assert explain_caption(origin, refine, alignments, "o", "g") == told


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_put_into_words(recipe):
    """Whatever a recipe makes of a sample, the explanation speaks of the caption that it made."""
    texts, scores = ("o", ""), (0.9, 0.1, None)
    refine = {"recipe": recipe, "alignment_threshold": 0.4}
    for original, generated, *alignments in itertools.product(texts, [t.upper() for t in texts], scores, scores):
        aligned = [[float("nan") if value is None else value] for value in alignments]
        _, (origin,) = refine_captions(
            [original],
            [generated],
            recipe,
            alignment=aligned[0],
            alignment_generated=aligned[1],
            threshold=0.4,
        )
        told = explain_caption(origin, refine, alignments, original, generated)
        assert told.startswith(ORIGINS[origin].told if original or generated else "none: ")
        if not (original and generated):
            assert told.endswith("empty") == (origin != recipe)


def test_a_recipe_that_is_added_to_the_table(monkeypatch):
    """It is followed and told of without a change elsewhere, as is a new way to make one caption of two."""
    monkeypatch.setitem(ORIGINS, "swapped", Origin("both, the generated one first", lambda o, g, j: g + j + o))
    monkeypatch.setitem(RECIPES, "backwards", Recipe(lambda original, **_: ["swapped"] * len(original)))
    assert refine_captions(["o", "o"], ["g", " "], "backwards") == (["g; o", "o"], ["swapped", "original"])
    refine = {"recipe": "backwards"}
    told = explain_caption("swapped", refine, [None, None], "o", "g")
    assert told == "both, the generated one first, as recipe backwards says"
    told = explain_caption("original", refine, [None, None], "o", " ")
    assert told == "the original: the generated one is empty"

    def choose(original, *, alignment, threshold, **_):
        return ["original" if score > threshold else "generated" for score in alignment]

    monkeypatch.setitem(
        RECIPES,
        "strict",
        Recipe(choose, lambda origin, alignments, threshold, margin: f"{alignments[0]} against {threshold}"),
    )
    refine = {"recipe": "strict", "alignment_threshold": 0.5}
    told = explain_caption("generated", refine, [0.5, 0.1], "o", "g")
    assert told == "the generated one: 0.5 against 0.5"


def test_an_origin_of_another_version_is_shown_as_it_is():
    told = explain_caption("para\nphrase", {"recipe": "rewritten"}, [None, None], "o", "g")
    assert told == r"para\nphrase, as recipe rewritten says"


def test_kept_several_times():
    selection = ALIGNED | {"max_repeats": 4, "repeat_penalty": 0.5}
    standing = RANKED | {"score": SCORE | {"rank": 1}}
    places = "each repeat counts as 0.5 standard deviations less, and 4 places are the most"
    ranked = "best alignment of the 60 in its cluster, of which 15 are kept, the last with 0.41"
    assert explain("kept", standing, selection=selection, repeats=3) == f"kept 3 times: {ranked}; {places}"
    assert explain("kept", standing, selection=selection, repeats=1) == f"kept: {ranked}; {places}"
    assert explain("kept: stands in for x", selection=selection, repeats=2, twin="dropped: image gone missing") == (
        "kept 2 times: stands in for x, as the next understudy of its cluster; that one: dropped: image gone missing"
    )
    assert "places" not in explain("dropped: low alignment", selection=selection, repeats=0)


def test_left_out_by_the_concept_cap():
    concepts = {"cap": 1000, "number": 3000, "sizes": {"dog": 12345, "grass": 2000}}
    assert explain("dropped: filtered: concept cap", concepts=concepts) == (
        "dropped: filtered: concept cap: of each concept the best 1,000 pass, and it is not among those of dog (12,345 "
        "samples), grass (2,000 samples)"
    )
    assert explain("dropped: filtered: no concept", concepts=concepts | {"sizes": {}}) == (
        "dropped: filtered: no concept: its caption has none of the 3,000 concepts"
    )
    assert explain("dropped: filtered: concept cap") == "dropped: filtered: concept cap"  # its file is gone
