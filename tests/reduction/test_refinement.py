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
    ],
)
def test_recipes_by_hand(recipe, captions, sources):
    names = {"o": "original", "g": "generated", "b": "original_generated"}
    expected = (captions, [names[letter] for letter in sources.split()])
    assert refine_captions(ORIGINAL, GENERATED, recipe) == expected


def test_gated_lets_a_wrong_original_go():
    captions, sources = refine_captions(
        ["a", "b", "c", "d"],
        ["A", "B", "C", ""],
        "gated",
        alignment=[0.5, 0.49, float("nan"), 0],
        threshold=0.5,
    )
    assert captions == ["a", "B", "C", "d"]
    assert sources == ["original", "generated", "generated", "original"]


def test_joiner():
    assert refine_captions(["a"], ["b"], "original_generated", joiner=" ")[0] == ["a b"]


def test_nothing_to_say():
    assert refine_captions(["", " "], [" ", ""], "original_generated") == (["", ""], ["", ""])
    assert refine_captions([], [], "gated", alignment=[], threshold=0) == ([], [])


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match="'both'; it must be one of .*'gated', 'generated', 'original'"):
        refine_captions(["a"], ["b"], "both")
    with pytest.raises(ValueError, match="1 original captions but 2 generated"):
        refine_captions(["a"], ["b", "c"], "original")
    with pytest.raises(ValueError, match="needs an alignment score"):
        refine_captions(["a"], ["b"], "gated", threshold=0.5)
    with pytest.raises(ValueError, match="2 alignment scores for 1 captions"):
        refine_captions(["a"], ["b"], "gated", alignment=[1, 2], threshold=0.5)
