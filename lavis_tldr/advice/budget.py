"""Which share of a set to keep for a training of known length.

The worth of a pair falls with each repetition, so the longer the training, the larger the right share (Goyal et al.,
Scaling Laws for Data Filtering, 2024, arXiv:2404.07177). Differs from the paper: no law of utility and decay is
fitted; the best share is measured at several lengths, and only its trend is carried on.

A length is told in passes: pairs seen over pairs of the whole set. Of a drawn sample of a set, a share and a number of
passes mean as many repetitions of a pair as of the set itself.

Shapes: R lengths, A shares (the last is the whole set), S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lavis_tldr.report.spread import Spread

BETTER, UNCLEAR, WHOLE_SET = "better", "unclear", "whole set"
_RESAMPLES = 400
_SPREAD = (16, 84)  # percentiles: as far as one standard error where errors are normal


@dataclass(frozen=True)
class BestShare:
    """The best share at one length.

    Attributes:
        passes: The length.
        share: The top of a parabola through the best measured share and its neighbours, in the share's logarithm; the
            measured one itself at the ends.
        tried: The best that was measured.
        gain: What ``tried`` gives more than the whole set, 0.05 for 5% more.
        error: Standard error of the gain; None for a single seed.
    """

    passes: float
    share: float
    tried: float
    gain: float
    error: float | None

    @property
    def repeats(self) -> float:
        """How often each pair of the share is seen."""
        return self.passes / self.share


@dataclass(frozen=True)
class Budget:
    """What to keep for a planned length.

    Attributes:
        passes: The planned length.
        share: To keep; 1 for the whole set.
        low: Where, of seeds drawn anew, one in six finds a smaller share; None for a single seed.
        high: Likewise a larger one.
        gain: What the share gives more than the whole set, 0.05 for 5% more.
        error: Standard error of the gain, with what carrying it on leaves open; None for a single seed.
        beyond: How many times longer the planned training is than the longest measured; 1 where it was measured.
        growth: The share grows with the length to this power, in [0, 1]; None where the length was measured.
        lengths: What was measured, shortest first.
    """

    passes: float
    share: float
    low: float | None
    high: float | None
    gain: float
    error: float | None
    beyond: float
    growth: float | None
    lengths: tuple[BestShare, ...]

    @property
    def verdict(self) -> str:
        """``better`` than the whole set by more than a standard error, ``unclear``, or the ``whole set`` is better."""
        if self.share >= 1 or self.gain + (self.error or 0) < 0:
            return WHOLE_SET
        return BETTER if self.error is not None and self.gain > self.error else UNCLEAR


def ladder(planned_steps: int, max_steps: int, *, rungs: int = 4, fewest: int = 25) -> list[int]:
    """Numbers of steps to train for, each half of the next: up to the planned number, or to as many as are allowed.

    Args:
        planned_steps: Of the planned training.
        max_steps: Most.
        rungs: How many lengths.
        fewest: None but the longest has fewer steps: so short a training tells nothing.
    """
    top = max(1, min(planned_steps, max_steps))
    return [top, *(top // 2**i for i in range(1, rungs) if top // 2**i >= fewest)][::-1]


def recommend_share(
    passes: Sequence[float],
    shares: Sequence[float],
    recalls: np.ndarray,
    planned: float,
    *,
    overlap: float = 0.0,
    seed: int = 0,
) -> Budget:
    """The share for a planned length.

    Where the longest measured length is the planned one, the share that measured best there. Where it is shorter, the
    line through the best shares in their and the lengths' logarithms, with a slope in [0, 1]: the longer, the larger
    the share, and the more often each pair is seen. The gain, seed by seed, is halfway between that of the longest
    length and that which a line over the logarithm of the length comes to; half their distance counts as error.

    Args:
        passes: Lengths, (R,), ascending.
        shares: Measured, (A,), ascending; the last is 1, the whole set.
        recalls: Mean recall, (R, A, S).
        planned: Length of the planned training.
        overlap: As `Spread.standard_error` takes it.
        seed: Of the seeds drawn anew.

    Raises:
        ValueError: If a length is to be carried on from fewer than two that say anything; if the whole set has learnt
            nothing.
    """
    told = (recalls[:, -1] > 0).all(1)
    if not told[-1]:
        raise ValueError(
            "the whole set's mean recall is 0: the trainings learnt nothing to compare. Raise --max-steps, or look "
            "whether the captions fit their images at all."
        )
    passes = np.asarray(passes, float)[told]
    lengths, logs = np.log(passes), np.log(np.asarray(shares, float))
    gains = recalls[told] / recalls[told][:, -1:] - 1  # (R, A, S)
    beyond = float(planned / passes[-1])
    measured = beyond < 1.01  # steps are whole
    if not measured and len(lengths) < 2:
        raise ValueError(
            f"the planned training is {beyond:.1f} times as long as the longest that --max-steps allows, and one "
            "length tells no trend: raise --max-steps."
        )
    ahead = lengths[-1] if measured else float(np.log(planned))

    def share_at(of: np.ndarray) -> tuple[float, float | None]:
        """Logarithm of the share, and the slope, by the gains of some seeds, (R, A, S)."""
        mean = of.mean(2)
        if measured:
            return float(logs[mean[-1].argmax()]), None
        return _carried_on(lengths, [_top(logs, values) for values in mean], ahead, logs[0])

    found, growth = share_at(gains)
    low, high = _spread_of(lambda of: share_at(of)[0], gains, seed)
    if measured:
        gain, unsure = Spread.of(_at(logs, gains[-1], found)), 0.0
    else:
        gain, unsure = _gain_ahead(lengths, gains, logs, found, ahead)
    error = gain.standard_error(overlap)
    return Budget(
        passes=planned,
        share=float(np.exp(found)),
        low=low,
        high=high,
        gain=gain.mean,
        error=None if error is None else float(np.hypot(error, unsure)),
        beyond=1.0 if measured else beyond,
        growth=growth,
        lengths=tuple(_best(length, logs, of, overlap) for length, of in zip(passes.tolist(), gains, strict=True)),
    )


def _best(passes: float, logs: np.ndarray, gains: np.ndarray, overlap: float) -> BestShare:
    """Of one length's gains, (A, S)."""
    mean = gains.mean(1)
    tried = int(mean.argmax())
    gain = Spread.of(gains[tried])
    top = float(np.exp(_top(logs, mean)))
    return BestShare(passes, top, float(np.exp(logs[tried])), gain.mean, gain.standard_error(overlap))


def _top(x: np.ndarray, y: np.ndarray) -> float:
    """Where a parabola through the highest point and its neighbours has its top, given (A,) each; at an end, there."""
    best = int(y.argmax())
    if best in (0, len(y) - 1):
        return float(x[best])
    (a, b, c), (fa, fb, fc) = x[best - 1 : best + 2], y[best - 1 : best + 2]
    left, right = (b - a) * (fb - fc), (b - c) * (fb - fa)
    if left == right:  # all three are alike
        return float(b)
    return float(b - 0.5 * ((b - a) * left - (b - c) * right) / (left - right))


def _carried_on(lengths: np.ndarray, tops: Sequence[float], ahead: float, smallest: float) -> tuple[float, float]:
    """Value of the line through the tops, (R,), at a length ahead, and its slope, all in logarithms."""
    x, y = lengths - lengths.mean(), np.asarray(tops)
    slope = float(np.clip(x @ y / (x @ x), 0, 1))
    return float(np.clip(y.mean() + slope * (ahead - lengths.mean()), smallest, 0)), slope


def _gain_ahead(
    lengths: np.ndarray, gains: np.ndarray, logs: np.ndarray, share: float, ahead: float
) -> tuple[Spread, float]:
    """What a share gains at a length beyond the measured ones, by seed, and how unsure carrying it on is.

    It lies between what it gains at the longest length, where a gain that has fallen may stay, and what its line over
    the logarithm of the length comes to. A gain that rose is taken to stay: with ever more repetitions none rises for
    long.
    """
    x = lengths - lengths.mean()
    slopes = np.tensordot(x, gains, 1) / (x @ x)
    line = _at(logs, gains.mean(0) + slopes * (ahead - lengths.mean()), share)
    longest = _at(logs, gains[-1], share)
    line = line - max(0.0, line.mean() - longest.mean())  # the seeds' slopes still differ
    return Spread.of((line + longest) / 2), float(longest.mean() - line.mean()) / 2


def _at(logs: np.ndarray, gains: np.ndarray, share: float) -> np.ndarray:
    """Gains, (A, S), between the measured shares, (S,)."""
    return np.array([np.interp(share, logs, of_seed) for of_seed in gains.T])


def _spread_of(share_at, gains: np.ndarray, seed: int) -> tuple[float | None, float | None]:
    """Percentiles of the share over seeds drawn anew, with replacement (the bootstrap)."""
    num_seeds = gains.shape[2]
    if num_seeds == 1:
        return None, None
    rng = np.random.default_rng(seed)
    found = [share_at(gains[:, :, rng.integers(num_seeds, size=num_seeds)]) for _ in range(_RESAMPLES)]
    low, high = np.exp(np.percentile(found, _SPREAD))
    return float(low), float(high)
