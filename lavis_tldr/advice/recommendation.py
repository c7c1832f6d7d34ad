"""Which keep ratio reaches a quality target, by trainings repeated over several seeds.

Quality is relative: a ratio's mean recall over that of a reference, seed by seed. A seed's trainings share their start
and their held-out pairs, so what these do to both cancels.

Shapes: S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil

import numpy as np

from lavis_tldr.report.spread import Spread

WHOLE, BEST = "whole", "best"


@dataclass(frozen=True)
class Quality:
    """What a ratio gives, as a share of the reference.

    Attributes:
        mean: Over the seeds.
        error: Standard error of the mean; None for a single seed.
    """

    mean: float
    error: float | None

    def may_reach(self, target: float) -> bool:
        """Whether it lies within one standard error of the target, or above."""
        return self.mean + (self.error or 0) >= target

    def surely_reaches(self, target: float) -> bool:
        """Whether it lies at least one standard error above the target."""
        return self.error is not None and self.mean - self.error >= target


@dataclass(frozen=True)
class Recommendation:
    """Which ratio to take.

    Attributes:
        target: Share of the reference's quality asked for.
        against: The reference: ``whole`` or ``best``.
        ratio: The smallest whose quality is within one standard error of the target; None where none is.
        sure_ratio: The smallest whose quality is at least one standard error above the target; None where none is.
        best: The ratio of the highest quality, of equals the smallest.
        qualities: By ratio.
        num_seeds: S.
        seeds_needed: Where the recommended ratio lies within one standard error of the target: how many seeds would
            tell it from the target, if mean and spread stay; None where it is told already, or where no number would.
    """

    target: float
    against: str
    ratio: float | None
    sure_ratio: float | None
    best: float
    qualities: dict[float, Quality]
    num_seeds: int
    seeds_needed: int | None

    def facts(self) -> dict:
        """As JSON can say it; the qualities stand in the table."""
        return {name: value for name, value in asdict(self).items() if name != "qualities"}


def recommend(
    recalls: Mapping[float, Sequence[float]],
    whole: Sequence[float],
    *,
    target: float = 1.0,
    against: str = WHOLE,
    overlap: float = 0.0,
) -> Recommendation:
    """The smallest ratio that reaches the target.

    The rule of one standard error (Breiman et al., Classification and Regression Trees, 1984, sec. 3.4.3): of choices
    that can't be told apart, the smallest. No curve is fitted: nothing says that quality grows with the ratio, since a
    noisy set is worse as a whole.

    Args:
        recalls: Mean recall of each ratio by seed, (S,).
        whole: That of the whole set, (S,).
        target: Share of the reference's quality, above 0.
        against: The reference: the ``whole`` set, or the ``best`` of all that were tried.
        overlap: Held-out pairs over pairs trained on, where every seed holds out others of one pool, as
            `Spread.standard_error` takes it. 0 for a validation set apart.

    Raises:
        ValueError: If there are no ratios, numbers of seeds differ, or a setting is out of range; if the reference
            learnt nothing.
    """
    if not target > 0:
        raise ValueError(f"target is {target}; it must be above 0, such as 0.95 for 95 % of the reference's quality.")
    if against not in (WHOLE, BEST):
        raise ValueError(f"the reference is {against!r}; expected {WHOLE} or {BEST}.")
    if not recalls or any(len(values) != len(whole) for values in recalls.values()) or not len(whole):
        raise ValueError("there must be at least one ratio, and each must have been trained with every seed.")
    reference = np.asarray(whole, np.float64)
    if against == BEST:
        reference = max((reference, *map(np.asarray, recalls.values())), key=np.mean)
    if not reference.all():
        raise ValueError(
            "the reference's mean recall is 0: the trainings learnt nothing to compare. Raise --epochs, or look "
            "whether the captions fit their images at all."
        )
    qualities = {r: _quality(np.asarray(recalls[r], np.float64) / reference, overlap) for r in sorted(recalls)}
    ratio = next((r for r, quality in qualities.items() if quality.may_reach(target)), None)
    return Recommendation(
        target=target,
        against=against,
        ratio=ratio,
        sure_ratio=next((r for r, quality in qualities.items() if quality.surely_reaches(target)), None),
        best=max(qualities, key=lambda r: qualities[r].mean),
        qualities=qualities,
        num_seeds=len(whole),
        seeds_needed=None if ratio is None else _seeds_needed(qualities[ratio], target, len(whole), overlap),
    )


def _quality(values: np.ndarray, overlap: float) -> Quality:
    spread = Spread.of(values)
    return Quality(spread.mean, spread.standard_error(overlap))


def _seeds_needed(quality: Quality, target: float, num_seeds: int, overlap: float) -> int | None:
    """How many seeds bring the standard error down to the distance from the target."""
    gap = abs(quality.mean - target)
    if quality.error is None or quality.error <= gap:
        return None
    variance = quality.error**2 / (1 / num_seeds + overlap)  # of one seed
    room = gap**2 / variance - overlap
    return ceil(1 / room) if room > 0 else None
