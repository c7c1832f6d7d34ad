"""The share for a planned training, on made-up curves whose optimum is known."""

import math

import numpy as np
import pytest

from lavis_tldr.advice.budget import BETTER, UNCLEAR, WHOLE_SET, ladder, recommend_share

SHARES = np.array([0.05, 0.1, 0.2, 0.4, 0.7, 1.0])
PASSES = np.array([1.0, 2.0, 4.0, 8.0])


def curves(at_one, growth, *, curvature=0.1, seeds=3, noise=0.0, passes=PASSES, shares=SHARES):
    """Recalls (R, A, S) whose best share is ``at_one * passes ** growth``: the gain over the whole set falls with the
    squared distance from it in logarithms, and the whole set's own recall grows with the length.
    """
    best = np.log(at_one) + growth * np.log(passes)
    distance = np.log(shares)[None] - best[:, None]
    gains = curvature * (best[:, None] ** 2 - distance**2)
    whole = 10 + np.log2(1 + passes)
    recalls = np.repeat((whole[:, None] * (1 + gains))[:, :, None], seeds, 2)
    return recalls * (1 + noise * np.random.default_rng(0).normal(size=recalls.shape))


def gain_by_hand(share, at_one, growth, passes, curvature=0.1):
    best = math.log(at_one) + growth * math.log(passes)
    return curvature * (best**2 - (math.log(share) - best) ** 2)


@pytest.mark.parametrize(
    ("planned", "max_steps", "steps"),
    [
        (1000, 2000, [125, 250, 500, 1000]),
        (9000, 2000, [250, 500, 1000, 2000]),
        (99, 2000, [49, 99]),
        (3, 2000, [3]),
        (0, 2000, [1]),
    ],
)
def test_ladder(planned, max_steps, steps):
    assert ladder(planned, max_steps) == steps


def test_the_planted_trend_is_carried_on():
    # 0.1 at one pass, doubled by four passes: the square root of the length. At 16 passes 0.4, each pair 40 times.
    found = recommend_share(PASSES, SHARES, curves(0.1, 0.5), 16.0)
    assert [best.share for best in found.lengths] == pytest.approx([0.1 * math.sqrt(p) for p in PASSES])
    assert [best.repeats for best in found.lengths] == pytest.approx([10 * math.sqrt(p) for p in PASSES])
    assert [best.tried for best in found.lengths] == pytest.approx([0.1, 0.1, 0.2, 0.2])
    assert (found.share, found.growth, found.beyond) == pytest.approx((0.4, 0.5, 2))
    assert found.low == pytest.approx(0.4) and found.high == pytest.approx(0.4)
    # Each share's gain is a line over the logarithm of the length, and 0.4 is one of them: at 16 passes 0.1 log(0.4)^2.
    stays, falls = gain_by_hand(0.4, 0.1, 0.5, 8), 0.1 * math.log(0.4) ** 2
    assert (found.gain, found.error) == pytest.approx(((stays + falls) / 2, (stays - falls) / 2))
    assert found.verdict == BETTER


def test_a_measured_length_is_not_carried_on():
    found = recommend_share(PASSES, SHARES, curves(0.1, 0.5), 8.0)
    assert (found.growth, found.beyond) == (None, 1.0)
    assert found.share == pytest.approx(0.2)  # of those measured, the nearest to 0.283 in logarithms
    assert found.gain == pytest.approx(gain_by_hand(0.2, 0.1, 0.5, 8))
    one = recommend_share(PASSES[-1:], SHARES, curves(0.1, 0.5)[-1:], 8.0)
    assert (one.share, one.gain) == (found.share, found.gain)


def test_long_trainings_want_the_whole_set():
    # 0.1 sqrt(100) = 1: from a hundred passes on.
    found = recommend_share(PASSES, SHARES, curves(0.1, 0.5), 400.0)
    assert (found.share, found.verdict, found.beyond) == (1.0, WHOLE_SET, 50.0)
    assert found.gain == pytest.approx(0)
    almost = recommend_share(PASSES, SHARES, curves(0.1, 0.5), 50.0)
    assert almost.share == pytest.approx(0.1 * math.sqrt(50)) and almost.verdict == BETTER


def test_a_share_that_shrinks_is_taken_as_it_is_on_the_mean():
    # The theory knows no such trend: noise.
    found = recommend_share(PASSES, SHARES, curves(0.3, -0.2), 64.0)
    assert found.growth == 0
    assert found.share == pytest.approx(0.3 * math.exp(-0.2 * np.log(PASSES).mean()))


def test_a_pair_is_never_seen_less_often_in_a_longer_training():
    shares = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0])
    found = recommend_share(PASSES, shares, curves(0.02, 1.4, shares=shares), 9.0)
    assert found.growth == 1


def test_the_smallest_share_is_the_least():
    recalls = curves(0.02, 0.0)  # the best lies below all that were tried
    found = recommend_share(PASSES, SHARES, recalls, 32.0)
    assert found.share == pytest.approx(0.05) and [best.tried for best in found.lengths] == pytest.approx([0.05] * 4)


def test_a_gain_that_rose_is_not_carried_on():
    # Of two shares 0.5 gains 10% more than the whole set at one pass and 20% at two: at eight still 20%.
    recalls = np.array([[[11.0, 11.0], [10.0, 10.0]], [[12.0, 12.0], [10.0, 10.0]]])
    found = recommend_share([1.0, 2.0], [0.5, 1.0], recalls, 8.0)
    assert (found.share, found.gain) == pytest.approx((0.5, 0.2))
    assert found.error == pytest.approx(0, abs=1e-12)
    # Seeds of slopes 0 and 0.1 a doubling: their mean, 0.15 at two passes, stays, and they part: 0.1 and 0.4 at eight
    # passes, less 0.1; halfway from 0.1 and 0.2 that is 0.05 and 0.25, of error 0.1.
    recalls[1, 0] = [11.0, 12.0]
    found = recommend_share([1.0, 2.0], [0.5, 1.0], recalls, 8.0)
    assert (found.gain, found.error) == pytest.approx((0.15, 0.1))


def test_noise_widens_the_spread_and_distance_the_error():
    recalls = curves(0.1, 0.5, seeds=6, noise=0.02)
    near, far = (recommend_share(PASSES, SHARES, recalls, planned) for planned in (16.0, 32.0))
    for found, true in ((near, 0.4), (far, 0.4 * math.sqrt(2))):
        assert found.low < found.share < found.high and found.low < true < 1.3 * found.high
    assert far.error > near.error > 0
    assert far == recommend_share(PASSES, SHARES, recalls, 32.0)  # nothing is left to chance


def test_error_of_a_measured_gain_by_hand():
    # Two seeds, 0.5 gives 1.1 and 1.3 of the whole: 20% more, deviation 0.1414, error 0.1 (0.1414 sqrt(1/2)).
    recalls = np.array([[[11.0, 13.0], [10.0, 10.0]]])
    found = recommend_share([2.0], [0.5, 1.0], recalls, 2.0)
    assert (found.share, found.gain, found.error) == pytest.approx((0.5, 0.2, 0.1))
    assert found.verdict == BETTER
    wider = recommend_share([2.0], [0.5, 1.0], recalls, 2.0, overlap=0.5)
    assert wider.error == pytest.approx(math.sqrt(0.02)) and wider.verdict == BETTER


@pytest.mark.parametrize(
    ("recalls", "verdict"),
    [
        ([[12.0, 9.0], [10.0, 10.0]], UNCLEAR),  # 5% +- 15%
        ([[9.0, 9.0], [10.0, 10.0]], WHOLE_SET),
        ([[11.0], [10.0]], UNCLEAR),  # a single seed has no error
    ],
)
def test_verdicts(recalls, verdict):
    assert recommend_share([2.0], [0.5, 1.0], np.array([recalls]), 2.0).verdict == verdict


def test_a_single_seed_has_no_spread():
    found = recommend_share(PASSES, SHARES, curves(0.1, 0.5, seeds=1), 16.0)
    assert (found.low, found.high, found.error) == (None, None, None) and found.share == pytest.approx(0.4)


def test_flat_curves():
    found = recommend_share(PASSES, SHARES, np.full((4, 6, 2), 10.0), 32.0)
    assert found.gain == 0 and found.verdict == UNCLEAR


def test_lengths_at_which_nothing_was_learnt_are_left_out():
    recalls = curves(0.1, 0.5)
    recalls[0] = 0
    found = recommend_share(PASSES, SHARES, recalls, 16.0)
    assert [best.passes for best in found.lengths] == pytest.approx([2, 4, 8]) and found.share == pytest.approx(0.4)
    recalls[-1, -1] = 0
    with pytest.raises(ValueError, match="learnt nothing to compare. Raise --max-steps"):
        recommend_share(PASSES, SHARES, recalls, 16.0)


def test_one_length_tells_no_trend():
    with pytest.raises(ValueError, match="8.0 times as long as the longest.*raise --max-steps"):
        recommend_share([2.0], SHARES, curves(0.1, 0.5)[:1], 16.0)
