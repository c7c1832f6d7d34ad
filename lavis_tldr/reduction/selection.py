"""Which samples of each cluster are kept (paper, section 3.2 and Table 2b).

Only usable records take part: those with an error belong to no cluster. Chance depends on a sample's key and the seed
alone (``draw.draw_priority``), so neither the order of the rows nor the number of processes changes what is kept.

A selection is two things: how the samples of each cluster stand, best first (``stand``), which needs that cluster's
samples alone, and how many of each cluster are kept (``count_kept``), which needs little more than sizes. So a set of
any size is selected from by groups of clusters (``regroup``), and the next best of each cluster are known as well.

Shapes: N usable samples, C clusters, T = 2 tiers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .cut import find_cut, ordered_bits
from .draw import draw_priority

# Scored samples are kept before unscored ones, and near duplicates never.
SCORED, UNSCORED, TWIN = range(3)


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


@dataclass(frozen=True)
class Standing:
    """How samples stand in their clusters.

    Attributes:
        tier: SCORED, UNSCORED or TWIN, (N,), int8.
        place: Place in its cluster and tier, best first from 0, (N,), int64.
        score: Bits that order the tier by alignment, best first, (N,), uint32.
        priority: Draw priority, which orders equals, (N,), uint64.
    """

    tier: np.ndarray
    place: np.ndarray
    score: np.ndarray
    priority: np.ndarray


def stand(
    keys: Sequence[str],
    cluster_ids: np.ndarray,
    *,
    seed: int,
    alignment: np.ndarray | None = None,
    duplicate_of: Sequence[str] | None = None,
) -> Standing:
    """How the samples of whole clusters stand: by alignment where there is one, else by the draw.

    Args:
        keys: (N,), of usable samples.
        cluster_ids: (N,), integers of at least 0; no cluster is given in part.
        seed: Of the draw.
        alignment: (N,), higher is better; NaN where not scored. Ties fall to the draw priority, then to the order of
            the rows: sort them by key. None: the draw decides.
        duplicate_of: (N,), the key of the better twin, or "" (``find_near_duplicates``).

    Raises:
        ValueError: If a sample has no cluster or the lengths differ.
    """
    cluster_ids = _check_clusters(keys, cluster_ids)
    count = len(keys)
    scores = np.full(count, np.nan, np.float32) if alignment is None else np.asarray(alignment, np.float32)
    if len(scores) != count or (duplicate_of is not None and len(duplicate_of) != count):
        raise ValueError(f"alignment and duplicate_of must have one value for each of the {count} keys.")
    tier = np.where(np.isnan(scores), UNSCORED, SCORED).astype(np.int8)
    if duplicate_of is not None:
        tier[np.fromiter((bool(twin) for twin in duplicate_of), bool, count)] = TWIN
    score = ordered_bits(np.where(np.isnan(scores), np.inf, -scores))
    priority = draw_priority(keys, seed)
    order = np.lexsort((priority, score, tier, cluster_ids))
    place = np.empty(count, np.int64)
    place[order] = places_in_runs(cluster_ids[order] * 3 + tier[order])
    return Standing(tier, place, score, priority)


def tier_sizes(cluster_ids: np.ndarray, tier: np.ndarray, num_clusters: int) -> np.ndarray:
    """Samples that may be kept, by tier and cluster, (T, C), int64; blocks of one set may be added up."""
    flat = tier.astype(np.int64) * num_clusters + cluster_ids
    return np.bincount(flat[tier < TWIN], minlength=2 * num_clusters).reshape(2, num_clusters)


# Cluster ids, standing of a block of samples.
Block = tuple[np.ndarray, Standing]


def count_kept(
    sizes: np.ndarray,
    num_samples: int,
    keep_ratio: float,
    *,
    balance: float = 1.0,
    blocks: Callable[[], Iterable[Block]] | None = None,
) -> np.ndarray:
    """How many samples of each tier and cluster are kept: the first by their place.

    The budget goes to the scored samples first, and what they leave to the unscored ones by the same rule. The share
    ``balance`` of it is given out by cluster, in proportion to its size; the rest goes to the best of all that are
    left, which are the next of their clusters as well.

    Args:
        sizes: (T, C), of ``tier_sizes``.
        num_samples: N, near duplicates included.
        keep_ratio: In (0, 1], of all N samples.
        balance: In [0, 1]. 1: quotas only. 0: clusters don't matter.
        blocks: Gives all samples again, block by block, in any order; needed for a balance below 1.

    Returns:
        (T, C), int64; a sample is kept where ``place < counts[tier, cluster]``.

    Raises:
        ValueError: If ratio or balance is out of range.
    """
    if not 0 <= balance <= 1:
        raise ValueError(f"balance is {balance}; it must be in [0, 1], the share of the budget given by cluster.")
    budget = keep_budget(num_samples, keep_ratio)
    counts = np.zeros_like(sizes)
    for tier in (SCORED, UNSCORED):
        share = min(budget, int(sizes[tier].sum()))
        budget -= share
        counts[tier] = quotas = apportion(sizes[tier], round(balance * share))
        if left := share - int(quotas.sum()):
            counts[tier] += _best_left(blocks, tier, quotas, left)
    return counts


def _best_left(blocks: Callable[[], Iterable[Block]], tier: int, quotas: np.ndarray, left: int) -> np.ndarray:
    """How many of each cluster are among the ``left`` best of a tier, quotas taken, (C,)."""

    def remaining() -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for clusters, standing in blocks():
            rows = (standing.tier == tier) & (standing.place >= quotas[clusters])
            yield clusters[rows], standing.score[rows], standing.priority[rows]

    score, priority = find_cut(lambda: (block[1:] for block in remaining()), left)
    above, at = np.zeros_like(quotas), np.zeros_like(quotas)
    for clusters, scores, priorities in remaining():
        ties = (scores == score) & (priorities == priority)
        better = (scores < score) | ((scores == score) & (priorities < priority))
        above += np.bincount(clusters[better], minlength=len(quotas))
        at += np.bincount(clusters[ties], minlength=len(quotas))
    # Two keys with one hash and one score: the lower cluster id goes first.
    return above + np.diff(np.minimum(np.append(0, np.cumsum(at)), left - int(above.sum())))


def is_kept(cluster_ids: np.ndarray, tier: np.ndarray, place: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """True for the samples that ``count_kept`` keeps, (N,), bool."""
    eligible = tier < TWIN
    return eligible & (place < counts[np.where(eligible, tier, 0), cluster_ids])


def understudies(
    cluster_ids: np.ndarray, tier: np.ndarray, place: np.ndarray, sizes: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """In which order the dropped samples of each cluster would step in for kept ones whose image is lost.

    Args:
        cluster_ids, tier, place: (N,).
        sizes, counts: (T, C), of ``tier_sizes`` and ``count_kept``.

    Returns:
        (N,), int32: 1 for the first of its cluster, 0 for a kept sample. The best scored come first, then the
        unscored, then near duplicates.
    """
    dropped = sizes - counts  # (T, C)
    before = np.stack([-counts[SCORED], dropped[SCORED] - counts[UNSCORED], dropped.sum(0)])  # (T + 1, C)
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
    return select_aligned(keys, cluster_ids, None, keep_ratio, seed=seed)


def select_aligned(
    keys: Sequence[str],
    cluster_ids: np.ndarray,
    alignment: np.ndarray | None,
    keep_ratio: float,
    *,
    seed: int,
    balance: float = 1.0,
    duplicate_of: Sequence[str] | None = None,
) -> np.ndarray:
    """Keep the samples whose caption agrees best with their image, in all clusters alike or overall.

    Differs from the paper, which draws uniformly: Table 2b has no selection by caption. Near duplicates are never kept,
    and clusters count without them. The number kept is that of ``select_uniform`` unless too few samples are left.

    Args:
        keys, cluster_ids, alignment, seed, duplicate_of: As ``stand`` takes them.
        keep_ratio, balance: As ``count_kept`` takes them.

    Returns:
        True for a sample that is kept, (N,), bool.

    Raises:
        ValueError: If ratio or balance is out of range, a sample has no cluster, or the lengths differ.
    """
    standing = stand(keys, cluster_ids, seed=seed, alignment=alignment, duplicate_of=duplicate_of)
    cluster_ids = np.asarray(cluster_ids).astype(np.int64)
    sizes = tier_sizes(cluster_ids, standing.tier, int(cluster_ids.max(initial=-1)) + 1)
    counts = count_kept(sizes, len(keys), keep_ratio, balance=balance, blocks=lambda: [(cluster_ids, standing)])
    return is_kept(cluster_ids, standing.tier, standing.place, counts)


def places_in_runs(labels: np.ndarray) -> np.ndarray:
    """Position of each row in its run of equal labels, (N,)."""
    new = np.append(True, labels[1:] != labels[:-1])[: len(labels)]
    starts = np.flatnonzero(new)
    return np.arange(len(labels)) - np.repeat(starts, np.diff(np.append(starts, len(labels))))


def _check_clusters(keys: Sequence[str], cluster_ids: np.ndarray) -> np.ndarray:
    cluster_ids = np.asarray(cluster_ids).astype(np.int64)
    if cluster_ids.shape != (len(keys),):
        raise ValueError(f"cluster_ids has shape {cluster_ids.shape} for {len(keys)} keys; expected one each.")
    if len(keys) and cluster_ids.min() < 0:
        row = int((cluster_ids < 0).argmax())
        raise ValueError(f"sample {keys[row]!r} has no cluster ({cluster_ids[row]}): pass only usable samples.")
    return cluster_ids
