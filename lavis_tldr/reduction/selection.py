"""Which samples of each cluster are kept (paper, section 3.2 and Table 2b).

Only usable records take part: those with an error belong to no cluster (``usable_rows``,
``spread_to_records``). Chance depends on a sample's key and the seed alone (``draw_priority``), so neither
the order of the rows nor the number of processes changes what is kept.

Shapes: N usable samples, C clusters, R records in the source, unusable ones included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from .duplicates import find_near_duplicates

__all__ = [
    "allocate_quotas",
    "draw_priority",
    "find_near_duplicates",
    "keep_budget",
    "sample_rows",
    "select_aligned",
    "select_uniform",
    "spread_to_records",
    "usable_rows",
]


def usable_rows(errors: Sequence[str]) -> np.ndarray:
    """True where a record has no error, (R,), bool: the rows to cluster and to select from."""
    return np.fromiter((error == "" for error in errors), dtype=bool, count=len(errors))


def spread_to_records(values: np.ndarray, usable: np.ndarray, fill) -> np.ndarray:
    """``values`` of the usable rows (N,) laid out over all records (R,), ``fill`` in the others."""
    values, usable = np.asarray(values), np.asarray(usable, dtype=bool)
    if len(values) != usable.sum():
        raise ValueError(f"{len(values)} values for {int(usable.sum())} usable records; there must be one each.")
    if values.dtype.kind == "U":
        values = values.astype(object)  # fixed-width text would cut a longer fill
    spread = np.full(len(usable), fill, dtype=values.dtype)
    spread[usable] = values
    return spread


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


def allocate_quotas(cluster_sizes: np.ndarray, keep_ratio: float) -> np.ndarray:
    """How many samples to keep of each cluster: the same share of all, rounded by largest remainders.

    Args:
        cluster_sizes: (C,), zeros allowed.
        keep_ratio: In (0, 1].

    Returns:
        Quotas, (C,), int64, summing to ``keep_budget``; none is above its cluster's size. Of equal remainders
        the lower cluster id rounds up.

    Raises:
        ValueError: If the ratio is not in (0, 1].
    """
    sizes = np.asarray(cluster_sizes, dtype=np.int64)
    return _apportion(sizes, keep_budget(int(sizes.sum()), keep_ratio))


def draw_priority(keys: Sequence[str], seed: int) -> np.ndarray:
    """A random number for each key, (N,), uint64, from the key and the seed only; lower is drawn first."""
    base = hashlib.blake2b(digest_size=8, key=str(int(seed)).encode())
    priority = np.empty(len(keys), dtype=np.uint64)
    for row, key in enumerate(keys):
        digest = base.copy()
        digest.update(str(key).encode("utf-8", "surrogatepass"))
        priority[row] = int.from_bytes(digest.digest(), "little")
    return priority


def sample_rows(keys: Sequence[str], size: int, *, seed: int) -> np.ndarray:
    """Rows of a random sample of at most ``size`` keys, ascending, int64: what K-Means is fitted on."""
    return np.sort(np.argsort(draw_priority(keys, seed), kind="stable")[:size])


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
    cluster_ids = _check_clusters(keys, cluster_ids)
    quotas = allocate_quotas(np.bincount(cluster_ids), keep_ratio)
    return _first_of_each(cluster_ids, quotas, np.lexsort((draw_priority(keys, seed), cluster_ids)))


def select_aligned(
    keys: Sequence[str],
    cluster_ids: np.ndarray,
    alignment: np.ndarray,
    keep_ratio: float,
    *,
    seed: int,
    balance: float = 1.0,
    duplicate_of: Sequence[str] | None = None,
) -> np.ndarray:
    """Keep the samples whose caption agrees best with their image, in all clusters alike or overall.

    Differs from the paper, which draws uniformly: Table 2b has no selection by caption.

    Near duplicates are never kept, and clusters count without them. Unscored samples are kept only when every
    scored one is: the budget goes to the scored samples first, and what they leave to the unscored ones by
    the same rule. The number kept is that of ``select_uniform`` unless too few samples are left.

    Args:
        keys: (N,), of usable samples.
        cluster_ids: (N,), integers of at least 0.
        alignment: (N,), higher is better; NaN where not scored. Ties fall to the draw priority.
        keep_ratio: In (0, 1], of all N samples.
        seed: Of the draw priority.
        balance: Share of the budget given out by cluster, in [0, 1]; the rest goes to the best of all that
            are left, whatever their cluster. 1: quotas only. 0: clusters don't matter.
        duplicate_of: (N,), the key of the better twin, or "" (``find_near_duplicates``).

    Returns:
        True for a sample that is kept, (N,), bool.

    Raises:
        ValueError: If ratio or balance is out of range, a sample has no cluster, or the lengths differ.
    """
    cluster_ids = _check_clusters(keys, cluster_ids)
    alignment = np.asarray(alignment, dtype=np.float64)
    if len(alignment) != len(keys) or (duplicate_of is not None and len(duplicate_of) != len(keys)):
        raise ValueError(f"alignment and duplicate_of must have one value for each of the {len(keys)} keys.")
    if not 0 <= balance <= 1:
        raise ValueError(f"balance is {balance}; it must be in [0, 1], the share of the budget given by cluster.")
    budget = keep_budget(len(keys), keep_ratio)
    eligible = np.ones(len(keys), dtype=bool) if duplicate_of is None else usable_rows(duplicate_of)
    scored = ~np.isnan(alignment)
    best_first = np.lexsort((draw_priority(keys, seed), np.where(scored, -alignment, 0)))
    kept = np.zeros(len(keys), dtype=bool)
    for tier in (eligible & scored, eligible & ~scored):
        in_tier = best_first[tier[best_first]]
        kept[_take_best(cluster_ids, in_tier, min(budget - int(kept.sum()), len(in_tier)), balance)] = True
    return kept


def _take_best(cluster_ids: np.ndarray, best_first: np.ndarray, budget: int, balance: float) -> np.ndarray:
    """``budget`` of the rows ``best_first``: a share by cluster quota, the rest the best that are left."""
    clusters = cluster_ids[best_first]
    quotas = _apportion(np.bincount(clusters), round(balance * budget))
    taken = _first_of_each(clusters, quotas, np.argsort(clusters, kind="stable"))
    left = best_first[~taken][: budget - int(taken.sum())]
    return np.concatenate([best_first[taken], left])


def _apportion(sizes: np.ndarray, budget: int) -> np.ndarray:
    """``budget`` shared in proportion to ``sizes`` by largest remainders, in exact integers; (C,), int64."""
    total = int(sizes.sum())
    if total == 0:
        return np.zeros_like(sizes, dtype=np.int64)
    quotas, remainders = np.divmod(sizes.astype(np.int64) * budget, total)
    # Only clusters with a remainder round up, so no quota passes its size: sizes * budget / total <= sizes.
    round_up = np.argsort(-remainders, kind="stable")[: budget - int(quotas.sum())]
    quotas[round_up] += 1
    return quotas


def _first_of_each(cluster_ids: np.ndarray, quotas: np.ndarray, order: np.ndarray) -> np.ndarray:
    """True for the first ``quotas[c]`` rows of each cluster in ``order``, which is grouped by cluster."""
    grouped = cluster_ids[order]
    sizes = np.bincount(cluster_ids)
    starts = np.cumsum(sizes) - sizes
    kept = np.zeros(len(cluster_ids), dtype=bool)
    kept[order[np.arange(len(order)) - starts[grouped] < quotas[grouped]]] = True
    return kept


def _check_clusters(keys: Sequence[str], cluster_ids: np.ndarray) -> np.ndarray:
    cluster_ids = np.asarray(cluster_ids).astype(np.int64)
    if cluster_ids.shape != (len(keys),):
        raise ValueError(f"cluster_ids has shape {cluster_ids.shape} for {len(keys)} keys; expected one each.")
    if len(keys) and cluster_ids.min() < 0:
        row = int((cluster_ids < 0).argmax())
        raise ValueError(
            f"sample {keys[row]!r} has no cluster ({cluster_ids[row]}): pass only usable samples (usable_rows)."
        )
    return cluster_ids
