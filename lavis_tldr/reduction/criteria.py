"""By what samples are ranked, for a selection or to filter before it (paper, Table 2b).

A criterion gives each sample a score, higher is kept first; NaN where it can't tell. The draws have none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lavis_tldr.reduction.cut import ordered_bits

RANDOM, UNIFORM = "random", "uniform"
DRAWS = (RANDOM, UNIFORM)
_UNSCORED = np.uint32(2**32 - 1)  # after the bits of every number


@dataclass(frozen=True)
class Criterion:
    """What a criterion goes by.

    Attributes:
        column: What is known of a sample: "alignment", "gradient", or its "distance" or "prototype_distance" (squared
            L2 and cosine distance to its centroid).
        more_is_better: Whether those with more of it are kept first.
        shortcoming: What is wrong with those that are dropped.
        best: What the first of the ranking is, such as "farthest from its centroid"; the second is the "2nd farthest
            from its centroid".
        measure: What a sample without score lacks.
    """

    column: str
    more_is_better: bool
    shortcoming: str
    best: str
    measure: str


CRITERIA = {
    "aligned": Criterion("alignment", True, "low alignment", "best alignment", "alignment score"),
    "large_distance": Criterion(
        "distance", True, "near its centroid", "farthest from its centroid", "distance to its centroid"
    ),
    # Sorscher et al. 2022 (arXiv:2206.14486, section 5): the cosine distance to the nearest prototype, a centroid of
    # K-Means, tells hard samples from easy ones. Differs: the centroids are those of L2, and of what is clustered here.
    "hard_sample": Criterion(
        "prototype_distance", True, "near its prototype", "farthest from its prototype", "distance to its prototype"
    ),
    "easy_sample": Criterion(
        "prototype_distance", False, "far from its prototype", "nearest to its prototype", "distance to its prototype"
    ),
    "gradient": Criterion("gradient", True, "small gradient", "largest gradient", "gradient"),
}
SELECTIONS = (*DRAWS, *CRITERIA)


def balance_of(selection: str, balance: float) -> float:
    """The share of the budget given out by cluster: of the draws one knows no clusters, the other nothing but them."""
    return {RANDOM: 0.0, UNIFORM: 1.0}.get(selection, balance)


def score_by(criterion: str, values: np.ndarray) -> np.ndarray:
    """Scores of samples by a criterion, higher is kept first, (N,), float32.

    Args:
        criterion: A name in ``CRITERIA``.
        values: Its column, (N,); NaN stays NaN.
    """
    values = np.asarray(values, np.float32)
    return values if CRITERIA[criterion].more_is_better else 0 - values  # unlike a sign, that makes no -0


def rank_bits(score: np.ndarray) -> np.ndarray:
    """Bits that order scores from the best to the worst, then NaN, (N,), uint32; equal scores have equal bits."""
    unscored = np.isnan(score)
    return np.where(unscored, _UNSCORED, ordered_bits(np.where(unscored, np.inf, -score)))
