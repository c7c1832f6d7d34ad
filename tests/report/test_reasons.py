"""The ledger's reasons in words, each written out by hand."""

import pytest

from lavis_tldr.report.reasons import explain_caption, explain_outcome

RANKED = {"size": 60, "kept": 15, "alignment_rank": 20, "num_ranked": 60, "num_repeats": 0, "lowest_kept": 0.41}
DRAWN = {"size": 60, "kept": 15, "draw_rank": 23}


def explain(reason, standing=RANKED, alignment=0.3, **told):
    return explain_outcome(reason, standing, alignment=alignment, **told)


def test_low_alignment():
    assert explain("dropped: low alignment") == (
        "dropped: low alignment: 20th best alignment of the 60 in its cluster, of which 15 are kept, the last with 0.41"
    )


def test_kept_by_alignment():
    assert explain("kept", RANKED | {"alignment_rank": 1, "num_repeats": 12, "num_ranked": 48}, 0.9) == (
        "kept: best alignment of the 48 in its cluster that repeat no other, of which 15 are kept, the last with 0.41"
    )


def test_of_equals_the_draw_decides():
    told = explain("dropped: low alignment", RANKED | {"alignment_rank": 15}, 0.41)
    assert told.endswith("15 are kept, the last with 0.41 as well: of equals, the draw decides")
    assert not explain("kept", RANKED | {"alignment_rank": 15}, 0.41).endswith("decides")


def test_none_of_the_cluster_is_kept():
    told = explain("dropped: low alignment", RANKED | {"kept": 0, "lowest_kept": None})
    assert told.endswith("of the 60 in its cluster, of which none is kept")


def test_uniform_draw():
    assert explain("dropped: not drawn", DRAWN, None, seed=42) == (
        "dropped: not drawn: 23rd of 60 in its cluster's draw (seed 42), of which 15 are kept"
    )
    assert explain("kept", DRAWN | {"draw_rank": 1, "kept": 1}, None, seed=0) == (
        "kept: 1st of 60 in its cluster's draw (seed 0), of which 1 is kept"
    )


def test_not_drawn_among_scored_samples():
    assert explain("dropped: not drawn", {"size": 60, "kept": 15}, None) == (
        "dropped: not drawn: it has no alignment score, and samples with one go first"
    )


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
