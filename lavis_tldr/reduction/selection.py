"""Which samples of each cluster are kept (paper, section 3.2 and Table 2b).

Only usable records take part: those with an error belong to no cluster. Chance depends on a sample's key and the seed
alone (``draw.draw_priority``), so neither the order of the rows nor the number of processes changes what is kept.

A selection is two things: how the samples of each cluster stand, best first (``stand``), which needs that cluster's
samples alone, and how many of each cluster are kept (``count_kept``), which needs little more than sizes. So a set of
any size is selected from by groups of clusters (``regroup``), and the next best of each cluster are known as well. What
the best are (``criteria``), which samples take part (``prefilter``, ``duplicates``) and what a cluster's share is
(``quotas``) are chosen apart from each other.

Shapes: N usable samples, C clusters, T = 4 tiers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .criteria import rank_bits
from .cut import find_cut
from .draw import draw_priority
from .quotas import apportion, keep_budget
from .runs import places_in_runs

# Scored samples are kept before unscored ones; those that a prefilter leaves out and near duplicates never.
SCORED, UNSCORED, FILTERED, TWIN = range(4)
_KEEPABLE = (SCORED, UNSCORED)
NUM_TIERS = 4


@dataclass(frozen=True)
class Standing:
    """How samples stand in their clusters.

    Attributes:
        tier: SCORED, UNSCORED, FILTERED or TWIN, (N,), int8.
        place: Place in its cluster and tier, best first from 0, (N,), int64.
        bits: What orders the tier by score, best first (``criteria.rank_bits``), (N,), uint32.
        priority: Draw priority, which orders equals, (N,), uint64.
    """

    tier: np.ndarray
    place: np.ndarray
    bits: np.ndarray
    priority: np.ndarray


def stand(
    keys: Sequence[str],
    cluster_ids: np.ndarray,
    *,
    seed: int,
    score: np.ndarray | None = None,
    passed: np.ndarray | None = None,
    duplicate_of: Sequence[str] | None = None,
) -> Standing:
    """How the samples of whole clusters stand: by score where there is one, else by the draw.

    Args:
        keys: (N,), of usable samples.
        cluster_ids: (N,), integers of at least 0; no cluster is given in part.
        seed: Of the draw.
        score: (N,), higher is better (``criteria.score_by``); NaN where not scored. Ties fall to the draw priority,
            then to the order of the rows: sort them by key. None: the draw decides.
        passed: (N,), False for a sample that a prefilter leaves out; None: all pass.
        duplicate_of: (N,), the key of the better twin, or "" (``find_near_duplicates``).

    Raises:
        ValueError: If a sample has no cluster or the lengths differ.
    """
    cluster_ids = _check_clusters(keys, cluster_ids)
    count = len(keys)
    scores = np.full(count, np.nan, np.float32) if score is None else np.asarray(score, np.float32)
    if any(len(column) != count for column in (scores, passed, duplicate_of) if column is not None):
        raise ValueError(f"score, passed and duplicate_of must have one value for each of the {count} keys.")
    tier = np.where(np.isnan(scores), UNSCORED, SCORED).astype(np.int8)
    if duplicate_of is not None:
        tier[np.fromiter((bool(twin) for twin in duplicate_of), bool, count)] = TWIN
    if passed is not None:
        tier[~np.asarray(passed, bool)] = FILTERED
    bits = rank_bits(scores)
    priority = draw_priority(keys, seed)
    order = np.lexsort((priority, bits, tier, cluster_ids))
    place = np.empty(count, np.int64)
    place[order] = places_in_runs(cluster_ids[order] * NUM_TIERS + tier[order])
    return Standing(tier, place, bits, priority)


def tier_sizes(cluster_ids: np.ndarray, tier: np.ndarray, num_clusters: int) -> np.ndarray:
    """Samples by tier and cluster, (T, C), int64; blocks of one set may be added up."""
    flat = tier.astype(np.int64) * num_clusters + cluster_ids
    return np.bincount(flat, minlength=NUM_TIERS * num_clusters).reshape(NUM_TIERS, num_clusters)


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
    for tier in _KEEPABLE:
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


def is_kept(cluster_ids: np.ndarray, tier: np.ndarray, place: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """True for the samples that ``count_kept`` keeps, (N,), bool."""
    return place < counts[tier, cluster_ids]


def understudies(
    cluster_ids: np.ndarray, tier: np.ndarray, place: np.ndarray, sizes: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """In which order the dropped samples of each cluster would step in for kept ones whose image is lost.

    Args:
        cluster_ids, tier, place: (N,).
        sizes, counts: (T, C), of ``tier_sizes`` and ``count_kept``.

    Returns:
        (N,), int32: 1 for the first of its cluster, 0 for a kept sample. The best scored come first, then the unscored,
        then those that were filtered, then near duplicates.
    """
    dropped = sizes - counts
    before = np.cumsum(dropped, axis=0) - dropped - counts  # (T, C)
    rank = before[tier, cluster_ids] + place + 1
    return np.where(is_kept(cluster_ids, tier, place, counts), 0, rank).astype(np.int32)


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


def _check_clusters(keys: Sequence[str], cluster_ids: np.ndarray) -> np.ndarray:
    cluster_ids = np.asarray(cluster_ids).astype(np.int64)
    if cluster_ids.shape != (len(keys),):
        raise ValueError(f"cluster_ids has shape {cluster_ids.shape} for {len(keys)} keys; expected one each.")
    if len(keys) and cluster_ids.min() < 0:
        row = int((cluster_ids < 0).argmax())
        raise ValueError(f"sample {keys[row]!r} has no cluster ({cluster_ids[row]}): pass only usable samples.")
    return cluster_ids
