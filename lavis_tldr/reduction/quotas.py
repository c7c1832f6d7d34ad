"""How many samples are kept, and how many of each cluster (paper, Table 2e and section 3.2).

Shapes: C clusters, F features a centroid.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial

import numpy as np

from lavis_tldr.reduction.prototypes import STEPS, unit_rows

NUM_NEIGHBOURS = 20  # Abbas et al. 2024, section 3
_BLOCK_ROWS = 512  # of centroids compared at once
_WEIGHT_STEPS = 2**40


def keep_budget(num_samples: int, keep_ratio: float) -> int:
    """How many of N samples a ratio keeps: N * ratio rounded, and at least one where there is one.

    Raises:
        ValueError: If the ratio is not in (0, 1].
    """
    if not 0 < keep_ratio <= 1:  # also refuses NaN
        hint = f" If you meant {keep_ratio} percent, write {keep_ratio / 100}." if 1 < keep_ratio <= 100 else ""
        raise ValueError(
            f"keep_ratio is {keep_ratio}; it must be above 0 and at most 1, the share of samples to keep "
            f"(0.25 keeps a quarter).{hint}"
        )
    return min(num_samples, max(1, round(num_samples * keep_ratio)))


def apportion(sizes: np.ndarray, budget: int) -> np.ndarray:
    """A budget shared among clusters in proportion to their sizes, by largest remainders in exact integers.

    Args:
        sizes: (C,), zeros allowed.
        budget: At most the sum of the sizes.

    Returns:
        Quotas, (C,), int64, summing to the budget (to 0 where all sizes are 0); none is above its cluster's size. Of
        equal remainders the lower cluster id rounds up.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    total = int(sizes.sum())
    if total == 0:
        return np.zeros_like(sizes)
    quotas, remainders = np.divmod(sizes * budget, total)
    # Only clusters with a remainder round up, so no quota passes its size: sizes * budget / total <= sizes.
    round_up = np.argsort(-remainders, kind="stable")[: budget - int(quotas.sum())]
    quotas[round_up] += 1
    return quotas


def apportion_by_weight(sizes: np.ndarray, budget: int, weights: np.ndarray) -> np.ndarray:
    """A budget shared among clusters in proportion to weights, none getting more than it holds (water-filling).

    What a cluster can't take goes to the others in proportion to their weights; the rest falls by largest remainders,
    all in exact integers.

    Args:
        sizes: (C,), zeros allowed.
        budget: At most the sum of the sizes.
        weights: (C,), integers, above 0 where the size is.

    Returns:
        Quotas, (C,), int64, summing to the budget. Of equal remainders the lower cluster id rounds up.

    Raises:
        ValueError: If the budget is larger than the sizes together.
    """
    sizes, weights = [int(size) for size in sizes], [int(weight) for weight in weights]
    quotas = np.zeros(len(sizes), np.int64)
    if budget > sum(sizes):
        raise ValueError(f"the budget is {budget}, but the clusters hold {sum(sizes)} samples together.")
    # Those that are full first, as the water rises.
    waiting = sorted((c for c in range(len(sizes)) if sizes[c]), key=lambda c: (Fraction(sizes[c], weights[c]), c))
    total = sum(weights[c] for c in waiting)
    for position, cluster in enumerate(waiting):
        if sizes[cluster] * total > weights[cluster] * budget:
            waiting = waiting[position:]
            break
        quotas[cluster] = sizes[cluster]
        budget, total = budget - sizes[cluster], total - weights[cluster]
    else:
        return quotas
    shares = {c: divmod(weights[c] * budget, total) for c in waiting}
    for cluster, (whole, _) in shares.items():
        quotas[cluster] = whole
    left = budget - sum(whole for whole, _ in shares.values())
    for cluster in sorted(waiting, key=lambda c: (-shares[c][1], c))[:left]:
        quotas[cluster] += 1
    return quotas


def density_quotas(
    sizes: np.ndarray, spreads: np.ndarray, centroids: np.ndarray, temperature: float
) -> Callable[[np.ndarray, int], np.ndarray]:
    """Quotas by density as a function of sizes and budget, like ``apportion``; arguments as ``density_weights``."""
    return partial(apportion_by_weight, weights=density_weights(sizes, spreads, centroids, temperature))


def density_weights(sizes: np.ndarray, spreads: np.ndarray, centroids: np.ndarray, temperature: float) -> np.ndarray:
    """What clusters weigh for quotas by density: more where they are wide and far from others.

    Abbas et al. 2024 (arXiv:2401.04578, section 3): the complexity of a cluster is the mean cosine distance of its
    members to its centroid (d_intra) times that of its centroid to its 20 nearest ones (d_inter), and quotas go by
    softmax(complexity / temperature). Differs from the article: what a small cluster can't take goes to the others in
    proportion to their weights (`apportion_by_weight`), while the article solves a quadratic program for the quotas
    nearest to the softmax, which gives all others the same number more; it keeps one sample of each cluster at least,
    here a cluster may get none; and the centroids are those of L2, not of spherical K-Means.

    Args:
        sizes: Members of each cluster, (C,). Those without one weigh nothing and are no neighbours.
        spreads: d_intra, (C,).
        centroids: (C, F).
        temperature: Above 0; the higher, the more alike the weights.

    Returns:
        (C,), int64, at most 2**40; at least 1 for a cluster with members, so that it takes what the wide ones can't.
    """
    filled = np.flatnonzero(sizes)
    weights = np.zeros(len(sizes), np.int64)
    if len(filled):
        complexity = np.asarray(spreads, np.float64)[filled] * neighbour_distances(centroids[filled])
        # In steps, like all that goes in, so that rounding, which differs between machines, hardly ever shows.
        softmax = np.exp((complexity - complexity.max()) / temperature)
        weights[filled] = np.maximum(np.rint(softmax * _WEIGHT_STEPS), 1)
    return weights


def neighbour_distances(centroids: np.ndarray, num_neighbours: int = NUM_NEIGHBOURS) -> np.ndarray:
    """Mean cosine distance of each centroid to its nearest others, (C,), float64; 0 where there is no other.

    Args:
        centroids: (C, F). Of a zero vector the distance to any other is 1.
        num_neighbours: How many; all others where there are fewer.
    """
    units = unit_rows(centroids)
    num_neighbours = min(num_neighbours, len(units) - 1)
    means = np.zeros(len(units))
    if num_neighbours < 1:
        return means
    for start in range(0, len(units), _BLOCK_ROWS):
        rows = np.arange(start, min(start + _BLOCK_ROWS, len(units)))
        # Whole numbers of steps: their sum is exact, whatever its order.
        distances = np.rint((1 - units[rows] @ units.T) * STEPS)  # (rows, C)
        distances[rows - start, rows] = np.inf
        nearest = np.partition(distances, num_neighbours - 1, axis=1)[:, :num_neighbours]
        means[rows] = nearest.sum(1) / num_neighbours / STEPS
    return means
