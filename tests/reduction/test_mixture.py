"""Weights of a mixture of scores: against a naive oracle, and on planted scores."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize

from lavis_tldr.reduction.alignments import combine_scores
from lavis_tldr.reduction.mixture import FittedMixture, fit_mixture

NAN = float("nan")


def planted(n, seed, is_right):
    """Two scores that each know something of whether a pair is right, and one that knows nothing."""
    rng = np.random.default_rng(seed)
    shift = 1.0 if is_right else -1.0
    return {
        "one": 5 + 3 * (shift * 0.6 + rng.normal(size=n)),
        "other": 0.01 * (shift * 0.6 + rng.normal(size=n)),
        "noise": rng.normal(size=n),
    }


def auc(right, wrong):
    return (right[:, None] > wrong[None]).mean()


def applied(mixture, scores):
    return combine_scores(scores, mixture.weights, mixture.moments, mixture.intercept)


def test_weights_minimise_the_penalised_loss():
    right, wrong = planted(60, 0, True), planted(60, 1, False)
    found = fit_mixture(right, wrong)
    x = np.array([[*row] for scores in (right, wrong) for row in zip(*scores.values(), strict=True)])
    x = (x - x.mean(0)) / x.std(0)
    sign = np.repeat([1, -1], 60)

    def loss(w):
        return (
            sum(np.log1p(np.exp(-s * (row @ w[:3] + w[3]))) for s, row in zip(sign, x, strict=True)) + w[:3] @ w[:3] / 2
        )

    best = minimize(loss, np.zeros(4), tol=1e-12).x
    np.testing.assert_allclose([*found.weights.values(), found.intercept], best, atol=1e-4)
    assert (found.num_right, found.num_wrong) == (60, 60)


def test_what_knows_more_weighs_more_and_noise_nothing():
    found = fit_mixture(planted(2000, 0, True), planted(2000, 1, False))
    assert found.weights["one"] > 0.8 and found.weights["other"] > 0.8
    assert abs(found.weights["noise"]) < 0.1


def test_the_mixture_beats_either_score_on_pairs_it_never_saw():
    found = fit_mixture(planted(500, 0, True), planted(500, 1, False))
    right, wrong = planted(2000, 2, True), planted(2000, 3, False)
    mixed = auc(applied(found, right), applied(found, wrong))
    assert mixed > max(auc(right[name], wrong[name]) for name in right) + 0.04


def test_log_odds_are_above_0_where_a_pair_is_likelier_right():
    found = fit_mixture(planted(2000, 0, True), planted(2000, 1, False))
    right, wrong = applied(found, planted(2000, 2, True)), applied(found, planted(2000, 3, False))
    scores, is_right = np.concatenate([right, wrong]), np.repeat([True, False], 2000)
    for low, high in ((-3, -1), (-1, 0), (0, 1), (1, 3)):
        within = (scores >= low) & (scores < high)
        expected = (1 / (1 + np.exp(-scores[within]))).mean()
        assert is_right[within].mean() == pytest.approx(expected, abs=0.04)


def test_classes_of_other_sizes_weigh_alike():
    """0 stays where right and wrong are as likely, however few of one there are."""
    found = fit_mixture(planted(300, 0, True), planted(6000, 1, False))
    right, wrong = applied(found, planted(2000, 2, True)), applied(found, planted(2000, 3, False))
    assert (right > 0).mean() == pytest.approx((wrong < 0).mean(), abs=0.05)


def test_scores_that_tell_all_apart_get_no_endless_weights():
    found = fit_mixture({"x": np.arange(30.0) + 100}, {"x": np.arange(30.0)})
    assert 1 < found.weights["x"] < 20


def test_pairs_without_a_score_are_left_out():
    right, wrong = planted(60, 0, True), planted(60, 1, False)
    holed = {name: np.append(values, 7.0) for name, values in right.items()}
    holed["noise"][-1] = NAN
    found = fit_mixture(holed, wrong)
    assert found == fit_mixture(right, wrong)
    with pytest.raises(ValueError, match=r"only 19 swapped ones have all scores \(one, other, noise\); 20 are needed"):
        fit_mixture(right, {name: values[:19] for name, values in wrong.items()})


def test_weights_come_back_from_json():
    found = fit_mixture(planted(60, 0, True), planted(60, 1, False))
    assert FittedMixture.from_dict(json.loads(json.dumps(found.as_dict()))) == found
