"""Which samples of each cluster are kept (paper, section 3.2 and Table 2b).

A selection is two things: how the samples of each cluster stand, best first (``standing``), which needs that cluster's
samples alone, and how many of each cluster are kept (``count_kept``), which needs little more than sizes. So a set of
any size is selected from by groups of clusters (``regroup``), and the next best of each cluster are known as well. What
the best are (``criteria``), which samples take part (``prefilter``, ``duplicates``) and what a cluster's share is
(``quotas``) are chosen apart from each other.

Shapes: N usable samples, C clusters, T = 4 tiers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from lavis_tldr.reduction.cut import find_cut
from lavis_tldr.reduction.quotas import apportion, keep_budget
from lavis_tldr.reduction.standing import SCORED, UNSCORED, Standing, is_kept, stand, tier_sizes

# Cluster ids, standing of a block of samples.
Block = tuple[np.ndarray, Standing]
# Sizes of the clusters (C,) and a budget -> quotas (C,), none above its size, that sum to the budget.
Quotas = Callable[[np.ndarray, int], np.ndarray]


def count_kept(
    sizes: np.ndarray,
    keep_ratio: float,
    *,
    balance: float = 1.0,
    quotas: Quotas = apportion,
    blocks: Callable[[], Iterable[Block]] | None = None,
) -> np.ndarray:
    """How many samples of each tier and cluster are kept: the first by their place.

    The budget goes to the scored samples first, and what they leave to the unscored ones by the same rule. The share
    ``balance`` of it is given out by cluster; the rest goes to the best of all that are left, which are the next of
    their clusters as well.

    Args:
        sizes: (T, C), of ``tier_sizes``; all tiers count for the budget.
        keep_ratio: In (0, 1], of all N samples.
        balance: In [0, 1]. 1: quotas only. 0: clusters don't matter.
        quotas: What share of a budget each cluster gets: in proportion to its size, or otherwise (``quotas``).
        blocks: Gives all samples again, block by block, in any order; needed for a balance below 1.

    Returns:
        (T, C), int64; a sample is kept where ``place < counts[tier, cluster]``.

    Raises:
        ValueError: If ratio or balance is out of range.
    """
    if not 0 <= balance <= 1:
        raise ValueError(f"balance is {balance}; it must be in [0, 1], the share of the budget given by cluster.")
    budget = keep_budget(int(sizes.sum()), keep_ratio)
    counts = np.zeros_like(sizes)
    for tier in (SCORED, UNSCORED):
        share = min(budget, int(sizes[tier].sum()))
        budget -= share
        counts[tier] = given = quotas(sizes[tier], round(balance * share))
        if left := share - int(given.sum()):
            counts[tier] += _best_left(blocks, tier, given, left)
    return counts


def _best_left(blocks: Callable[[], Iterable[Block]], tier: int, given: np.ndarray, left: int) -> np.ndarray:
    """How many of each cluster are among the ``left`` best of a tier, quotas taken, (C,)."""

    def remaining() -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for clusters, standing in blocks():
            rows = (standing.tier == tier) & (standing.place >= given[clusters])
            yield clusters[rows], standing.bits[rows], standing.priority[rows]

    last_bits, last_priority = find_cut(lambda: (block[1:] for block in remaining()), left)
    above, at = np.zeros_like(given), np.zeros_like(given)
    for clusters, bits, priorities in remaining():
        ties = (bits == last_bits) & (priorities == last_priority)
        better = (bits < last_bits) | ((bits == last_bits) & (priorities < last_priority))
        above += np.bincount(clusters[better], minlength=len(given))
        at += np.bincount(clusters[ties], minlength=len(given))
    # Two keys with one hash and one score: the lower cluster id goes first.
    return above + np.diff(np.minimum(np.append(0, np.cumsum(at)), left - int(above.sum())))


def select_uniform(keys: Sequence[str], cluster_ids: np.ndarray, keep_ratio: float, *, seed: int) -> np.ndarray:
    """Keep the same share of each cluster, drawn at random (paper, section 3.2).

    Args:
        keys: (N,), of usable samples.
        cluster_ids: (N,), integers of at least 0.
        keep_ratio: In (0, 1].
        seed: Of the draw.

    Returns:
        True for a sample that is kept, (N,), bool.

    Raises:
        ValueError: If the ratio is not in (0, 1], a sample has no cluster, or the lengths differ.
    """
    return select(keys, cluster_ids, keep_ratio, seed=seed)


def select(
    keys: Sequence[str],
    cluster_ids: np.ndarray,
    keep_ratio: float,
    *,
    seed: int,
    score: np.ndarray | None = None,
    passed: np.ndarray | None = None,
    duplicate_of: Sequence[str] | None = None,
    balance: float = 1.0,
    quotas: Quotas = apportion,
) -> np.ndarray:
    """Keep the best of each cluster, or of all, of a set that is held in memory.

    What was filtered and near duplicates are never kept, and clusters count without them. The number kept is that of
    ``select_uniform`` unless too few samples are left.

    Args:
        keys, cluster_ids, seed, score, passed, duplicate_of: As ``stand`` takes them.
        keep_ratio, balance, quotas: As ``count_kept`` takes them.

    Returns:
        True for a sample that is kept, (N,), bool.

    Raises:
        ValueError: If ratio or balance is out of range, a sample has no cluster, or the lengths differ.
    """
    standing = stand(keys, cluster_ids, seed=seed, score=score, passed=passed, duplicate_of=duplicate_of)
    cluster_ids = np.asarray(cluster_ids).astype(np.int64)
    sizes = tier_sizes(cluster_ids, standing.tier, int(cluster_ids.max(initial=-1)) + 1)
    blocks = [(cluster_ids, standing)]
    counts = count_kept(sizes, keep_ratio, balance=balance, quotas=quotas, blocks=lambda: blocks)
    return is_kept(cluster_ids, standing.tier, standing.place, counts)
