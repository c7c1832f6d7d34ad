import pytest

from lavis_tldr.reduction.refinement import refine_captions

ORIGINAL = ["my best friend", "buy now", " ", "sky"]
GENERATED = ["a dog on grass", "a red shoe", "two people", ""]


@pytest.mark.parametrize(
    ("recipe", "captions", "sources"),
    [
        ("original", ["my best friend", "buy now", "two people", "sky"], "o o g o"),
        ("generated", ["a dog on grass", "a red shoe", "two people", "sky"], "g g g o"),
        (
            "original_generated",
            ["my best friend; a dog on grass", "buy now; a red shoe", "two people", "sky"],
            "b b g o",
        ),
        (  # who does not draw reads them joined
            "drawn",
            ["my best friend; a dog on grass", "buy now; a red shoe", "two people", "sky"],
            "d d g o",
        ),
    ],
)
def test_recipes_by_hand(recipe, captions, sources):
    names = {"o": "original", "g": "generated", "b": "original_generated", "d": "drawn"}
    expected = (captions, [names[letter] for letter in sources.split()])
    assert refine_captions(ORIGINAL, GENERATED, recipe) == expected


NAN = float("nan")


@pytest.mark.parametrize(
    ("alignment", "alignment_generated", "caption", "source"),
    [
        (0.5, 0.5, "a; b", "original_generated"),  # both reach the threshold
        (0.6, 0.5, "a; b", "original_generated"),
        (0.5, 0.6, "b; a", "generated_original"),  # the better first: it is what a short reader sees
        (0.9, 0.4, "a", "original"),
        (0.4, 0.9, "b", "generated"),  # a caption about another photo does not survive beside a good one
        (0.3, 0.4, "b", "generated"),  # neither does: the better one
        (0.4, 0.3, "a", "original"),
        (0.4, 0.4, "a", "original"),
        (NAN, 0.1, "b", "generated"),
        (0.1, NAN, "a", "original"),
        (NAN, NAN, "a", "original"),
        (NAN, 0.9, "b", "generated"),
    ],
)
def test_gated_keeps_what_fits(alignment, alignment_generated, caption, source):
    scores = {"alignment": [alignment], "alignment_generated": [alignment_generated]}
    assert refine_captions(["a"], ["b"], "gated", **scores, threshold=0.5) == ([caption], [source])


@pytest.mark.parametrize(
    ("alignment", "alignment_generated", "source"),
    [
        (0.5, 0.9, "drawn"),
        (0.9, 0.5, "drawn"),
        (0.9, 0.4, "original"),
        (0.4, 0.9, "generated"),
    ],
)
def test_gated_drawn_draws_where_both_fit(alignment, alignment_generated, source):
    scores = {"alignment": [alignment], "alignment_generated": [alignment_generated]}
    assert refine_captions(["a"], ["b"], "gated_drawn", **scores, threshold=0.5)[1] == [source]


@pytest.mark.parametrize(
    ("alignment", "alignment_generated", "source"),
    [
        (0.25, 0.75, "generated"),  # better by the margin
        (0.25, 0.625, "original"),  # fits, but not clearly better than what is there
        (-1.0, -0.5, "generated"),  # neither fits
        (-1.0, -0.75, "original"),
        (0.5, 0.5, "original_generated"),  # where both fit the margin has no say
        (NAN, -9.0, "generated"),
        (NAN, NAN, "original"),
    ],
)
def test_the_generated_one_must_be_better_by_the_margin(alignment, alignment_generated, source):
    scores = {"alignment": [alignment], "alignment_generated": [alignment_generated]}
    assert refine_captions(["a"], ["b"], "gated", **scores, threshold=0.5, margin=0.5)[1] == [source]


def test_gated_needs_a_text_as_well_as_a_score():
    scores = {"alignment": [1.0, 0.0, 1.0], "alignment_generated": [0.0, 1.0, 1.0]}
    captions, sources = refine_captions([" ", "b", ""], ["A", "\n", "C"], "gated", **scores, threshold=0.5)
    assert captions == ["A", "b", "C"]
    assert sources == ["generated", "original", "generated"]


def test_joiner():
    assert refine_captions(["a"], ["b"], "original_generated", joiner=" ")[0] == ["a b"]


def test_nothing_to_say():
    assert refine_captions(["", " "], [" ", ""], "original_generated") == (["", ""], ["", ""])
    assert refine_captions([], [], "gated", alignment=[], alignment_generated=[], threshold=0) == ([], [])


def test_what_does_not_fit_is_told():
    with pytest.raises(
        ValueError, match="'both'; it must be one of .*'drawn', 'gated', 'gated_drawn', 'generated', 'original'"
    ):
        refine_captions(["a"], ["b"], "both")
    with pytest.raises(ValueError, match="1 original captions but 2 generated"):
        refine_captions(["a"], ["b", "c"], "original")
    scores = {"alignment": [1.0], "alignment_generated": [1.0], "threshold": 0.5}
    for absent in scores:
        with pytest.raises(ValueError, match="needs an alignment score of each caption of both kinds, and a threshold"):
            refine_captions(["a"], ["b"], "gated", **{**scores, absent: None})
    for doubled in ("alignment", "alignment_generated"):
        with pytest.raises(ValueError, match="2 alignment scores for 1 captions"):
            refine_captions(["a"], ["b"], "gated", **{**scores, doubled: [1, 2]})


HOSTILE = [
    "a; b",
    "\x1b[31mred",
    "né 🎈",
    "{0} %s \\n",
    "x" * 100_000,
    "line\nbreak",
    '"quoted"',
    "\u202eright to left",
]


@pytest.mark.parametrize("recipe", ["original", "generated", "original_generated", "drawn", "gated"])
def test_texts_are_taken_as_they_are(recipe):
    scores = {"alignment": [1.0] * 8, "alignment_generated": [1.0] * 8}
    captions, _ = refine_captions(HOSTILE, HOSTILE[::-1], recipe, **scores, threshold=0.0)
    alone = {"original": HOSTILE, "generated": HOSTILE[::-1]}
    assert captions == alone.get(recipe, [f"{a}; {b}" for a, b in zip(HOSTILE, HOSTILE[::-1], strict=True)])
