"""How far samples are from the prototype of their cluster, its centroid, by cosine.

Sorscher et al. 2022 (arXiv:2206.14486, section 5). Shapes: N samples, F features, C clusters.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# Distances are whole numbers of steps: finer differences are rounding of float32 features, and sums of whole numbers
# don't depend on their order.
STEPS = 2**32
_BLOCK_ELEMENTS = 2**20  # of features held in float64 at once


def prototype_distances(features: np.ndarray, centroids: np.ndarray, cluster_ids: np.ndarray) -> np.ndarray:
    """Cosine distance of each sample to its centroid, 1 - cos.

    Args:
        features: (N, F).
        centroids: (C, F).
        cluster_ids: (N,).

    Returns:
        (N,), float32, in [0, 2]; exactly 0 in the centroid's direction. A zero vector has no direction: its distance is
        1, and 0 to a centroid that is zero as well.
    """
    distances = np.empty(len(features), np.float32)
    step = max(1, _BLOCK_ELEMENTS // max(features.shape[1], 1))
    for start in range(0, len(features), step):
        rows = slice(start, start + step)
        own, prototypes = unit_rows(features[rows]), unit_rows(centroids[cluster_ids[rows]])
        difference = own - prototypes
        # Half the squared difference of unit vectors: unlike 1 - cos it loses no digits where they are close.
        found = np.einsum("nf,nf->n", difference, difference) / 2
        found[own.any(1) != prototypes.any(1)] = 1
        distances[rows] = np.minimum(np.rint(found * STEPS) / STEPS, 2)
    return distances


def sizes_and_spreads(
    blocks: Iterable[tuple[np.ndarray, np.ndarray]], num_clusters: int
) -> tuple[np.ndarray, np.ndarray]:
    """How many members each cluster has, and how far they are from its centroid on the mean.

    Args:
        blocks: Cluster ids and ``prototype_distances``, (n,) each; in any order.
        num_clusters: C.

    Returns:
        Sizes, (C,), int64, and spreads, (C,), float64; both 0 for an empty cluster.
    """
    sums, sizes = np.zeros(num_clusters, np.int64), np.zeros(num_clusters, np.int64)
    for cluster_ids, distances in blocks:
        np.add.at(sums, cluster_ids, np.rint(distances.astype(np.float64) * STEPS).astype(np.int64))
        sizes += np.bincount(cluster_ids, minlength=num_clusters)
    return sizes, sums / np.maximum(sizes, 1) / STEPS


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows (N, F) scaled to length one in float64; a zero row stays zero."""
    rows = np.asarray(rows, np.float64)
    norms = np.sqrt(np.einsum("nf,nf->n", rows, rows))
    return rows / np.where(norms == 0, 1, norms)[:, None]
