"""Near duplicates inside clusters: the same photo re-encoded, cropped or shot a second later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# A row's product with itself may fall short of one by float32's rounding: threshold 1 still means "the same".
_TOLERANCE = 1e-6


def find_near_duplicates(
    features: np.ndarray,
    cluster_ids: np.ndarray,
    threshold: float,
    rank: np.ndarray,
    keys: Sequence[str],
    *,
    block_size: int = 1024,
) -> np.ndarray:
    """For each sample the better sample that it nearly repeats, if any.

    Greedy and inside each cluster: the best-ranked sample stays, and all whose cosine similarity with it
    reaches the threshold are its duplicates; then the best of the rest, and so on. Samples that stay are thus
    less alike than the threshold, and a duplicate always names a sample that stays. Twins in two clusters are
    not found.

    Args:
        features: (N, F), rows of length one (or zero: never a duplicate).
        cluster_ids: (N,).
        threshold: Cosine similarity in (0, 1].
        rank: (N,), higher is better; NaN is last. Ties fall to the smaller key.
        keys: (N,), unique.
        block_size: Rows compared at once; similarities take block_size**2 floats, whatever the cluster's
            size.

    Returns:
        (N,), object: "" for a sample that stays, else the key of the one it repeats (the best-ranked).

    Raises:
        ValueError: If the threshold is out of range, the lengths differ or the rows are not normalised.
    """
    features = np.asarray(features, dtype=np.float32)
    cluster_ids, rank = np.asarray(cluster_ids), np.asarray(rank, dtype=np.float64)
    keys = np.asarray(keys, dtype=object)
    _check(features, cluster_ids, threshold, rank, keys)
    duplicate_of = np.full(len(keys), "", dtype=object)
    by_key = np.argsort(keys, kind="stable")
    # NaN sorts last, and -rank puts the best first; within equal ranks the key order stays.
    best_first = by_key[np.argsort(-rank[by_key], kind="stable")]
    by_cluster = best_first[np.argsort(cluster_ids[best_first], kind="stable")]
    ends = np.flatnonzero(np.diff(cluster_ids[by_cluster])) + 1
    for rows in np.split(by_cluster, ends):
        if len(rows) > 1:
            twin = _first_twin(features[rows], threshold - _TOLERANCE, block_size)
            repeats = twin >= 0
            duplicate_of[rows[repeats]] = keys[rows[twin[repeats]]]
    return duplicate_of


def _first_twin(features: np.ndarray, threshold: float, block_size: int) -> np.ndarray:
    """For rows in rank order, the first kept row that each repeats, or -1 where it is kept itself."""
    twin = np.full(len(features), -1, dtype=np.int64)
    for start in range(0, len(features), block_size):
        block = np.arange(start, min(start + block_size, len(features)))
        kept = np.flatnonzero(twin[:start] < 0)
        for first in range(0, len(kept), block_size):
            open_rows = block[twin[block] < 0]
            others = kept[first : first + block_size]
            alike = features[open_rows] @ features[others].T >= threshold  # (rows, others)
            hit = alike.any(axis=1)
            twin[open_rows[hit]] = others[alike[hit].argmax(axis=1)]
        open_rows = block[twin[block] < 0]
        alike = features[open_rows] @ features[open_rows].T >= threshold
        for i, row in enumerate(open_rows):
            if twin[row] < 0:  # kept: what follows, is alike and has no better twin yet repeats it
                later = open_rows[i + 1 :][alike[i, i + 1 :]]
                twin[later[twin[later] < 0]] = row
    return twin


def _check(features, cluster_ids, threshold, rank, keys) -> None:
    if not 0 < threshold <= 1:
        raise ValueError(f"duplicate threshold is {threshold}; it must be a cosine similarity in (0, 1], such as 0.95.")
    lengths = {
        "features": len(features),
        "cluster_ids": len(cluster_ids),
        "rank": len(rank),
        "keys": len(keys),
    }
    if len(set(lengths.values())) > 1:
        raise ValueError(f"there must be one row for each sample; found {lengths}.")
    norms = np.linalg.norm(features, axis=-1)
    wrong = ~((np.abs(norms - 1) < 1e-3) | (norms == 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"row {row} (key {keys[row]!r}) has length {norms[row]:.4g}; near duplicates need rows of "
            "length one: use the representation 'histogram' or 'embedding', or normalise."
        )
