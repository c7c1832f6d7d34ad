"""Which box an expression refers to: worked examples, and what a perfect, a constant and a random scorer get."""

import numpy as np
import pytest

from lavis_tldr.evaluation.grounding import accuracy, chance, choose, heat_in_boxes, is_found, overlap

RNG = np.random.default_rng(0)


def test_overlap_by_hand():
    target = [0, 0, 10, 10]
    assert overlap([0, 0, 10, 5], target) == 0.5
    assert overlap([5, 0, 10, 10], target) == pytest.approx(50 / 150)
    assert overlap([2, 3, 2, 2], target) == pytest.approx(4 / 100)
    assert overlap(target, target) == 1
    assert overlap([10, 0, 10, 10], target) == 0
    assert overlap([20, 20, 5, 5], target) == 0


def test_an_overlap_of_one_pixel_counts_as_none():
    assert overlap([9, 0, 10, 10], [0, 0, 10, 10]) == 0
    assert overlap([8, 0, 10, 10], [0, 0, 10, 10]) == pytest.approx(20 / 180)


def mattnets_overlap(a, b) -> float:
    """MAttNet's, by its inclusive pixels."""
    left, top = max(a[0], b[0]), max(a[1], b[1])
    right, bottom = min(a[0] + a[2] - 1, b[0] + b[2] - 1), min(a[1] + a[3] - 1, b[1] + b[3] - 1)
    shared = (right - left + 1) * (bottom - top + 1) if left < right and top < bottom else 0
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def test_overlap_is_mattnets():
    for a, b in RNG.integers(1, 12, size=(500, 2, 4)).tolist():
        assert overlap(a, b) == pytest.approx(mattnets_overlap(a, b))


def test_half_is_enough():
    assert is_found([0, 0, 10, 5], [0, 0, 10, 10])
    assert not is_found([0, 0, 10, 4.9], [0, 0, 10, 10])
    assert not is_found(None, [0, 0, 10, 10])


def test_by_sentence_and_not_by_object():
    assert accuracy([True, True, False, True]) == 75  # an object with 2 of 3 right, one with 1 of 1: not 83.3


def test_equal_scores_choose_the_first_box():
    assert choose([0, 0, 0]) == 0
    assert choose([-2.0, 1, 1]) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_refused(bad):
    with pytest.raises(ValueError, match="expected finite"):
        choose([0.0, bad])


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(ValueError, match="a box at least"):
        choose([])
    with pytest.raises(ValueError, match="no sentences"):
        accuracy([])


def test_heat_by_hand():
    heat = np.array([[0, 0, 0, 0], [0, 4, 4, 0], [0, 4, 4, 0], [0, 0, 0, 1]], float)
    scores = heat_in_boxes(heat, [[1, 1, 2, 2], [0, 0, 4, 4], [3, 3, 1, 1]])
    assert scores.tolist() == [8, 4.25, 1]
    assert choose(scores) == 0
    assert choose(heat_in_boxes(0 * heat, [[1, 1, 2, 2], [0, 0, 4, 4]])) == 0
    assert heat_in_boxes(heat, [[-2, -2, 4, 4], [1, 1, 0, 3]]).tolist() == [1.0, 0]  # over the edge; empty


def test_a_perfect_scorer_finds_all_a_constant_and_a_random_one_as_many_as_chance():
    counts = RNG.integers(2, 9, size=4000)
    targets = [int(RNG.integers(count)) for count in counts]
    by_chance = chance(counts)
    shares = 1 / counts
    deviation = 100 * np.sqrt((shares * (1 - shares)).sum()) / len(counts)

    def found(scores_of) -> float:
        pairs = zip(counts, targets, strict=True)
        return accuracy([choose(scores_of(count, target)) == target for count, target in pairs])

    assert found(lambda count, target: np.arange(count) == target) == 100
    assert found(lambda count, target: np.full(count, 0.3)) == pytest.approx(by_chance, abs=3 * deviation)
    assert found(lambda count, target: RNG.normal(size=count)) == pytest.approx(by_chance, abs=3 * deviation)
