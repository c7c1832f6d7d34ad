import math

import pytest

from lavis_tldr.advice.recommendation import BEST, recommend

WHOLE = [20.0, 25.0, 20.0, 25.0]


def recalls(**shares):
    """{ratio: recalls}, from shares of the whole set's by seed: r10=(...) is ratio 0.10."""
    return {int(name[1:]) / 100: [s * w for s, w in zip(values, WHOLE, strict=True)] for name, values in shares.items()}


FLAT, CURVE = [1.0] * 4, {"r05": [0.5] * 4, "r10": [0.8] * 4, "r25": [0.95] * 4, "r50": [1.1] * 4}


@pytest.mark.parametrize(("target", "ratio"), [(0.4, 0.05), (0.8, 0.1), (0.81, 0.25), (0.95, 0.25), (1.0, 0.5)])
def test_the_smallest_ratio_that_reaches_the_target(target, ratio):
    # Spread 0: the mean alone decides (0.8 * 25 / 25 is 0.8 up to rounding, so targets lie a hair below).
    found = recommend(recalls(**CURVE), WHOLE, target=target - 1e-9)
    assert (found.ratio, found.sure_ratio, found.best) == (ratio, ratio, 0.5)
    assert found.seeds_needed is None


def test_against_the_best_instead_of_the_whole():
    # Of the best (1.1), 0.95 is 0.8636...
    assert recommend(recalls(**CURVE), WHOLE, target=0.86, against=BEST).ratio == 0.25
    assert recommend(recalls(**CURVE), WHOLE, target=0.87, against=BEST).ratio == 0.5
    # Where the whole set is the best, it is the reference as well.
    assert recommend(recalls(r10=[0.5] * 4), WHOLE, against=BEST).qualities[0.1].mean == pytest.approx(0.5)


def test_none_reaches_the_target_and_the_best_is_named():
    found = recommend(recalls(**CURVE), WHOLE, target=1.2)
    assert (found.ratio, found.sure_ratio, found.best, found.seeds_needed) == (None, None, 0.5, None)


def test_error_and_seeds_by_hand():
    # Shares 0.9, 1.0, 0.9, 1.0: mean 0.95, standard deviation sqrt(4 * 0.05^2 / 3), error that over 2.
    found = recommend(recalls(r10=[0.9, 1.0, 0.9, 1.0], r50=[1.2] * 4), WHOLE, target=0.97)
    error = math.sqrt(4 * 0.05**2 / 3) / 2
    assert found.qualities[0.1].mean == pytest.approx(0.95)
    assert found.qualities[0.1].error == pytest.approx(error)
    # 0.95 + 0.0289 reaches 0.97, but not surely.
    assert (found.ratio, found.sure_ratio) == (0.1, 0.5)
    # The error is to fall to 0.02: (0.0577 / 0.02)^2 = 8.3 seeds.
    assert found.seeds_needed == 9


def test_a_spread_that_cancels_within_a_seed_counts_not():
    # The seeds differ by a fifth, the whole set's with them: the quality is 0.9 in each.
    assert recommend(recalls(r10=[0.9] * 4), WHOLE).qualities[0.1].error == pytest.approx(0, abs=1e-12)


def test_overlapping_training_sets_widen_the_error():
    shares = [0.9, 1.0, 0.9, 1.0]
    plain = recommend(recalls(r10=shares), WHOLE).qualities[0.1].error
    # sqrt((1/4 + 1/12) / (1/4)) = sqrt(4/3)
    wider = recommend(recalls(r10=shares), WHOLE, overlap=1 / 12).qualities[0.1].error
    assert wider == pytest.approx(plain * math.sqrt(4 / 3))


def test_more_seeds_don_t_help_where_held_out_pairs_are_too_few():
    # Variance 0.00333; gap 0.02: 0.02^2 / 0.00333 = 0.12 of a seed's variance, and 0.2 stays whatever the seeds.
    shares = [0.9, 1.0, 0.9, 1.0]
    assert recommend(recalls(r10=shares), WHOLE, target=0.97, overlap=0.2).seeds_needed is None


def test_one_seed_has_no_error_bar_and_is_never_sure():
    found = recommend({0.1: [10.0], 0.2: [21.0]}, [20.0])
    assert (found.ratio, found.sure_ratio, found.qualities[0.2].error) == (0.2, None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": 0}, "target is 0"),
        ({"target": math.nan}, "target is nan"),
        ({"against": "part"}, "'part'"),
        ({"recalls": {}}, "at least one ratio"),
        ({"recalls": {0.1: [1.0]}}, "every seed"),
        ({"whole": [0.0] * 4}, "learnt nothing"),
    ],
)
def test_refusals(changes, message):
    arguments = {"recalls": recalls(r10=FLAT), "whole": WHOLE} | changes
    with pytest.raises(ValueError, match=message):
        recommend(arguments.pop("recalls"), arguments.pop("whole"), **arguments)
