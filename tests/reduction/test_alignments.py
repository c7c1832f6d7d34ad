"""One alignment score out of several, by hand."""

import warnings

import numpy as np
import pytest

from lavis_tldr.reduction.alignments import Moments, combine_scores


def combined(gain, similarity, weights=None):
    scores = {"likelihood_gain": gain, "similarity": similarity}
    # In blocks, as a large set comes.
    moments = {name: Moments.over(lambda x=x: (x[:2], x[2:])) for name, x in scores.items()}
    return combine_scores(scores, weights or {"likelihood_gain": 0.5, "similarity": 0.5}, moments)


def test_combined_score_by_hand():
    gain, similarity = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.5, 0.8])
    scores = {"likelihood_gain": gain, "similarity": similarity}
    np.testing.assert_array_equal(combine_scores(scores, {"likelihood_gain": 1.0}, {}), np.float32([1, 2, 3]))
    np.testing.assert_array_equal(combine_scores(scores, {"similarity": 1.0}, {}), np.float32([0.5, 0.5, 0.8]))
    # Means 2 and 0.6, deviations sqrt(2/3) and sqrt(0.02).
    z = np.array([-1.224745, 0, 1.224745]), np.array([-0.707107, -0.707107, 1.414214])
    np.testing.assert_allclose(combined(gain, similarity), (z[0] + z[1]) / 2, atol=1e-5)
    assert combined(gain, similarity).dtype == np.float32
    np.testing.assert_allclose(
        combined(gain, similarity, {"likelihood_gain": 0.8, "similarity": 0.2}), 0.8 * z[0] + 0.2 * z[1], atol=1e-5
    )
    # A column that does not count may be anything.
    np.testing.assert_allclose(combined(gain, similarity * np.nan, {"likelihood_gain": 1.0}), z[0], atol=1e-5)


def test_unscored_samples_stay_unscored_and_move_no_other():
    gain, similarity = np.array([1.0, np.nan, 3.0, 5.0]), np.array([0.1, 0.2, np.nan, 0.3])
    both = combined(gain, similarity)
    assert np.isnan(both).tolist() == [False, True, True, False]
    # Standardized over the known ones: 1 of (1, 3, 5) and 0.1 of (0.1, 0.2, 0.3).
    assert both[0] == pytest.approx(-1.224745, abs=1e-5)


def test_scores_that_are_all_alike_or_absent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert combined(np.full(3, 2.0), np.array([1.0, 2.0, 3.0]))[0] == pytest.approx(-0.612372, abs=1e-5)
        assert np.isnan(combined(np.full(3, np.nan), np.full(3, 1.0))).all()
        assert len(combined(np.zeros(0), np.zeros(0))) == 0
