"""The cap on concepts against its description in plain Python, and on a set that one concept crowds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis_tldr.reduction.concepts import ConceptCuts, ConceptMatcher, cap_of, words_of
from lavis_tldr.reduction.criteria import rank_bits
from lavis_tldr.reduction.cut import find_cuts
from lavis_tldr.reduction.draw import draw_priority

NAN = float("nan")


def passing(captions, concepts, cap, scores=None, num_blocks=1):
    """Keys that are among the best of one of their concepts; keys are numbers in the order of the captions."""
    keys = [f"k{i:04d}" for i in range(len(captions))]
    bits = rank_bits(np.full(len(keys), NAN, np.float32) if scores is None else np.array(scores, np.float32))
    priority = draw_priority(keys, 0)
    rows, numbers = ConceptMatcher(concepts).match_all(captions)

    def blocks():
        for block in np.array_split(np.arange(len(rows)), num_blocks):
            yield numbers[block], bits[rows[block]], priority[rows[block]]

    cuts = ConceptCuts.find(blocks, len(concepts), cap)
    assert cuts.sizes.tolist() == np.bincount(numbers, minlength=len(concepts)).tolist()
    return cuts.passes(rows, numbers, bits, priority).tolist()


def naive_passing(captions, concepts, cap, scores):
    priority = draw_priority([f"k{i:04d}" for i in range(len(captions))], 0).tolist()
    best_first = sorted(
        range(len(captions)),
        key=lambda i: (np.isnan(scores[i]), 0.0 if np.isnan(scores[i]) else -scores[i], priority[i]),
    )
    kept = set()
    for concept in concepts:
        has_it = [i for i in best_first if f" {concept} " in f" {captions[i]} "]
        kept |= set(has_it[:cap])
    return [i in kept for i in range(len(captions))]


CONCEPTS = ["dog", "kite", "red kite", "sea", "yak"]
captions = st.lists(
    st.lists(st.sampled_from(["dog", "red", "kite", "sea", "old"]), max_size=4).map(" ".join), max_size=30
)


@settings(max_examples=150)
@given(captions, st.integers(1, 8), st.integers(1, 4), st.data())
def test_passing_equals_the_naive_one_in_any_blocks(captions, cap, num_blocks, data):
    number = st.sampled_from([NAN, 0.0, 0.5, 0.5, 1.0, -3.0])
    scores = data.draw(st.lists(number, min_size=len(captions), max_size=len(captions)))
    found = passing(captions, CONCEPTS, cap, scores, num_blocks)
    assert found == naive_passing(captions, CONCEPTS, cap, scores)


def test_a_crowded_concept_is_cut_and_the_rare_stay_whole():
    # 80 of 100 pairs are of dogs, three of them with a kite.
    captions = ["a dog"] * 77 + ["a dog with a kite"] * 3 + ["a yak"] * 12 + ["the sea"] * 8
    found = np.array(passing(captions, CONCEPTS, 20))
    assert found[80:].all() and found[77:80].all()
    assert 17 <= found[:77].sum() <= 20  # with those three among the twenty or not
    has_dog = np.arange(100) < 80
    assert (found & has_dog).sum() / found.sum() < 0.55
    # The best pass, where there is a score.
    scores = np.arange(100.0)
    found = np.array(passing(captions, CONCEPTS, 20, scores))
    assert np.flatnonzero(found).tolist() == list(range(60, 100))


def test_a_caption_passes_by_any_of_its_concepts():
    # Of dogs c is the best, of kites a is the only one.
    assert passing(["a dog, a kite", "dog", "dog"], CONCEPTS, 1, [0.0, 1.0, 2.0]) == [True, False, True]


def test_matching_by_hand():
    match = ConceptMatcher(["dog", "Red Kite", "kite", "guide dog", "42", "red kite", "well-to-do dog"])
    assert match("A Dog; dogs, DOG!") == [0]
    assert match("The red kite's red, kite") == [1, 2]  # "kite's" is another word, signs part nothing
    assert match("a well-to-do dog and a guide dog") == [0, 3, 6]
    assert match("42 x") == match("") == match("狗") == []
    rows, numbers = match.match_all(["none", "red kite", "dog"])
    assert rows.tolist() == [1, 1, 2] and numbers.tolist() == [1, 2, 0]
    assert [len(column) for column in match.match_all([])] == [0, 0]
    assert words_of("Two o'clock -- a T-shirt's") == ["two", "o'clock", "t-shirt's"]


@pytest.mark.parametrize(("cap", "expected"), [(1, 1), (500, 500), (0.25, 50), (1e-6, 1)])
def test_a_cap_is_a_number_or_a_share(cap, expected):
    assert cap_of(cap, 200) == expected


triples = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 2)),
        st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 3)),
    ),
    min_size=1,
    max_size=60,
)


@given(triples, st.data(), st.integers(1, 20), st.sampled_from([8, 16]))
def test_cuts_of_groups_are_the_naive_ones_in_any_blocks(found, data, size, digit_bits):
    groups = sorted({group for group, _, _ in found})
    members = [sorted((high, low) for own, high, low in found if own == group) for group in groups]
    counts = [data.draw(st.integers(1, len(own))) for own in members]

    def blocks():
        for start in range(0, len(found), size):
            own, high, low = zip(*found[start : start + size], strict=True)
            yield np.searchsorted(groups, own), np.array(high, np.uint32), np.array(low, np.uint64)

    high, low = find_cuts(blocks, np.array(counts), digit_bits=digit_bits)
    assert high.dtype == np.uint32 and low.dtype == np.uint64
    expected = [own[count - 1] for own, count in zip(members, counts, strict=True)]
    assert list(zip(high.tolist(), low.tolist(), strict=True)) == expected


def test_a_group_must_have_enough_to_choose_from():
    block = np.array([0, 0, 1]), np.zeros(3, np.uint32), np.zeros(3, np.uint64)
    with pytest.raises(ValueError, match="fewer than 2 values"):
        find_cuts(lambda: [block], np.array([2, 2]))
