"""How samples stand in their clusters, best first, and who follows whom.

Only usable records take part: those with an error belong to no cluster. Chance depends on a sample's key and the seed
alone (``draw.draw_priority``), so neither the order of the rows nor the number of processes changes anything.

Shapes: N usable samples, C clusters, T = 4 tiers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lavis_tldr.reduction.criteria import rank_bits
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.label_runs import places_in_runs

# Scored samples are kept before unscored ones; those that a prefilter leaves out and near duplicates never.
SCORED, UNSCORED, FILTERED, TWIN = range(4)
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
    return Standing(tier, place_in_clusters(cluster_ids, tier, bits, priority), bits, priority)


def place_in_clusters(cluster_ids: np.ndarray, tier: np.ndarray, bits: np.ndarray, priority: np.ndarray) -> np.ndarray:
    """Place of each sample in its cluster and tier: by bits, priority and the order of the rows, (N,), int64."""
    order = np.lexsort((priority, bits, tier, cluster_ids))
    place = np.empty(len(order), np.int64)
    place[order] = places_in_runs(cluster_ids[order] * NUM_TIERS + tier[order])
    return place


def tier_sizes(cluster_ids: np.ndarray, tier: np.ndarray, num_clusters: int) -> np.ndarray:
    """Samples by tier and cluster, (T, C), int64; blocks of one set may be added up."""
    flat = tier.astype(np.int64) * num_clusters + cluster_ids
    return np.bincount(flat, minlength=NUM_TIERS * num_clusters).reshape(NUM_TIERS, num_clusters)


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


def _check_clusters(keys: Sequence[str], cluster_ids: np.ndarray) -> np.ndarray:
    cluster_ids = np.asarray(cluster_ids).astype(np.int64)
    if cluster_ids.shape != (len(keys),):
        raise ValueError(f"cluster_ids has shape {cluster_ids.shape} for {len(keys)} keys; expected one each.")
    if len(keys) and cluster_ids.min() < 0:
        row = int((cluster_ids < 0).argmax())
        raise ValueError(f"sample {keys[row]!r} has no cluster ({cluster_ids[row]}): pass only usable samples.")
    return cluster_ids
