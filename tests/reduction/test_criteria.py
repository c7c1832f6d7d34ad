import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavis_tldr.reduction.criteria import CRITERIA, SELECTIONS, Criterion, rank_bits, score_by

NAN = float("nan")


@pytest.mark.parametrize(
    ("criterion", "column", "best_first"),
    [
        ("aligned", "alignment", [2.0, 0.5, 0.0]),
        ("large_distance", "distance", [2.0, 0.5, 0.0]),
        ("hard_sample", "prototype_distance", [2.0, 0.5, 0.0]),
        ("easy_sample", "prototype_distance", [0.0, 0.5, 2.0]),
        ("gradient", "gradient", [2.0, 0.5, 0.0]),
    ],
)
def test_what_each_goes_by_and_which_end_it_keeps(criterion, column, best_first):
    assert CRITERIA[criterion].column == column
    values = np.array([0.5, NAN, 0.0, 2.0], np.float32)
    score = score_by(criterion, values)
    assert score.dtype == np.float32 and np.isnan(score).tolist() == [False, True, False, False]
    order = np.argsort(rank_bits(score), kind="stable")
    assert values[order[:3]].tolist() == best_first and order[3] == 1


def test_a_criterion_cannot_be_made_without_its_words():
    with pytest.raises(TypeError, match="best.*measure"):
        Criterion("distance", True, "near its centroid")


def test_no_minus_zero_is_told():
    assert [math.copysign(1, value) for value in score_by("easy_sample", np.array([0.0, -0.0]))] == [1, 1]


def test_the_draws_are_no_criteria():
    assert set(SELECTIONS) - set(CRITERIA) == {"random", "uniform"}


@given(st.lists(st.one_of(st.just(NAN), st.floats(width=32)), min_size=2, max_size=2))
def test_bits_order_as_the_scores_do(pair):
    one, other = pair
    first, second = rank_bits(np.array(pair, np.float32)).tolist()
    if math.isnan(one) or math.isnan(other):
        assert (first < second) == (not math.isnan(one) and math.isnan(other))
    else:
        assert (first < second) == (one > other) and (first == second) == (one == other)
