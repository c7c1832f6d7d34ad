"""The best samples more than once: a draw with a soft cap, without chance.

M-FLYT's soft cap sampling (Shechter and Carmon 2025, arXiv:2503.08805) draws samples with replacement by their scores,
and lowers the score of each by a penalty whenever it is drawn. Differs: nothing is drawn. Every sample has copies
r = 0, 1, ..., of which copy r scores r penalties less than the sample, and the budget goes to the best copies of all,
so that a sample is kept as often as its score outdoes that of others.

Shapes: N samples, M copies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lavis_tldr.reduction.criteria import rank_bits
from lavis_tldr.reduction.label_runs import places_in_runs
from lavis_tldr.reduction.standing import SCORED, Standing, place_in_clusters

# Gives the scores of all samples of a set anew at each call, block by block, in any order; NaN where there is none.
Scores = Callable[[], Iterable[np.ndarray]]


@dataclass(frozen=True)
class SoftCap:
    """How often a sample may be kept, and what each repeat costs.

    Attributes:
        max_repeats: R, how often at most; 1: once or not at all.
        penalty: By how much each copy scores less than the one before, at least 0, in units of the score.
    """

    max_repeats: int = 1
    penalty: float = 0.0

    @classmethod
    def of(cls, settings: Mapping, scores: Scores) -> SoftCap:
        """What the settings of the stage select ask for.

        Args:
            settings: As its manifest has them: ``repeat_penalty`` is in standard deviations of the set's scores.
            scores: Of the set; asked for where samples are repeated.
        """
        if settings.get("max_repeats", 1) == 1:
            return cls()
        return cls(settings["max_repeats"], settings["repeat_penalty"] * deviation(scores))

    def copies(self, standing: Standing, cluster_ids: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, Standing]:
        """Every copy of the samples of whole clusters, as if it were a sample of its own.

        Args:
            standing: Of the samples, (N,). Those of the tier SCORED have R copies, which take their places among each
                other; all others have one.
            cluster_ids: (N,), int64.
            score: (N,), float32, that they stand by.

        Returns:
            Row of the sample that each is a copy of, (M,), int64, ascending; and how the copies stand, (M,). Of a
            sample's copies the first has the first place.
        """
        rows = np.arange(len(standing.tier))
        if self.max_repeats == 1:
            return rows, standing
        rows = np.repeat(rows, np.where(standing.tier == SCORED, self.max_repeats, 1))
        tier, priority = standing.tier[rows], standing.priority[rows]
        lowered = score.astype(np.float64)[rows] - self.penalty * places_in_runs(rows)
        bits = rank_bits(lowered.astype(np.float32))
        place = place_in_clusters(cluster_ids[rows], tier, bits, priority)
        return rows, Standing(tier, place, bits, priority)


def count_copies(rows: np.ndarray, kept: np.ndarray, num_samples: int) -> np.ndarray:
    """How often each sample is kept, (N,), int64.

    Args:
        rows: The sample that each copy is of, (M,).
        kept: Which copies are kept, (M,), bool.
        num_samples: N.
    """
    return np.bincount(rows[kept], minlength=num_samples)


def deviation(scores: Scores) -> float:
    """Standard deviation of a set's finite scores; 1 where all are equal, or there is none.

    Sums are exact, so that neither the blocks nor their order changes a bit of it.
    """

    def finite() -> Iterator[np.ndarray]:
        for block in scores():
            yield block[np.isfinite(block)].astype(np.float64)

    def exact_sum(of: Callable[[np.ndarray], np.ndarray]) -> float:
        return math.fsum(value for block in finite() for value in of(block).tolist())

    if not (count := sum(len(block) for block in finite())):
        return 1.0
    mean = exact_sum(lambda values: values) / count
    return math.sqrt(exact_sum(lambda values: (values - mean) ** 2) / count) or 1.0
