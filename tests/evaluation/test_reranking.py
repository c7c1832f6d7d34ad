"""Re-ranking, by hand."""

import numpy as np
import pytest

from lavis_tldr.evaluation.ranks import best_ranks
from lavis_tldr.evaluation.reranking import candidates, reranked

COSINES, LOGITS = np.array([0.3, 0.2, 0.1]), np.array([-1.0, 2.0, 5.0])


def scores(k: int) -> np.ndarray:
    items = candidates(COSINES[None], k)[0]
    return reranked(COSINES, items, LOGITS[items])


def test_what_the_shortlist_misses_stays_missed():
    np.testing.assert_allclose(scores(2), [-0.7, 2.2, -100])
    assert best_ranks([scores(2)], [[2]]).tolist() == [3]


@pytest.mark.parametrize("k", [3, 256])
def test_a_shortlist_of_all_finds_it_and_may_be_longer_than_the_gallery(k):
    np.testing.assert_allclose(scores(k), [-0.7, 2.2, 5.1])
    assert best_ranks([scores(k)], [[2]]).tolist() == [1]


def test_what_was_not_scored_stays_below_very_low_logits():
    found = reranked(COSINES, np.array([0]), np.array([-500.0]))
    assert found[0] == pytest.approx(-499.7) and (found[1:] < found[0]).all()


def test_of_equal_cosines_the_first_is_taken():
    assert candidates(np.array([[0.5, 0.7, 0.5, 0.5]]), 2).tolist() == [[1, 0]]


def test_nan_and_no_candidates_are_refused():
    with pytest.raises(ValueError, match="1 cosines are NaN"):
        candidates(np.array([[0.1, np.nan]]), 1)
    with pytest.raises(ValueError, match="run.k_test is 0"):
        candidates(COSINES[None], 0)
