"""K-Means by Faiss (paper, section 3.2), on a GPU where the caller names one and Faiss can use it.

Shapes: N images, F features an image, C clusters.
"""

from __future__ import annotations

import faiss
import numpy as np

# Faiss compares in float32 through norms and products, which loses digits when distances are small beside the
# norms. The best few centroids it names are compared again, in float64, so that near ties don't depend on how
# the rows were batched, on how many threads ran or on the order of the columns.
_NUM_CANDIDATES = 4
_BLOCK_ELEMENTS = 2**23  # of features compared at once: 32 MiB


def fit_kmeans(
    features: np.ndarray,
    num_clusters: int,
    *,
    seed: int,
    num_iterations: int = 20,
    overwrite: bool = False,
    gpu: int | None = None,
) -> np.ndarray:
    """Centroids of ``features``.

    Every row is used: give a sample of the rows where the set is too large (``draw.draw_rows``).
    The same rows in the same order, seed and machine give the same centroids. Faiss sums each centroid in row
    order whatever the number of threads, but its matrix products may round differently with another number of
    threads, BLAS or GPU, and a point that lies between two centroids may then change sides.
    The order of the columns does not matter: renumbering the codes of a histogram renumbers the centroids'
    columns and changes nothing else.

    Args:
        features: (N, F), float32.
        num_clusters: C, from 1 to N.
        seed: Of the rows that Faiss starts from.
        num_iterations: Rounds of K-Means.
        overwrite: ``features`` may be changed, which saves a copy of them.
        gpu: Number of the GPU to compute on; None: the CPU. A Faiss without GPUs computes on the CPU all the same.

    Returns:
        Centroids, (C, F), float32. Where rows are doubled, several centroids may be (nearly) the same.

    Raises:
        ValueError: If C is not in [1, N], or if a feature is not finite.
    """
    features = _check(features, "features")
    num_rows, width = features.shape
    if num_clusters < 1:
        raise ValueError(f"num_clusters is {num_clusters}; it must be at least 1.")
    if num_clusters > num_rows:
        raise ValueError(
            f"num_clusters is {num_clusters}, but there are only {num_rows} usable samples to cluster. "
            f"Set num_clusters to {num_rows} or less (a hundred samples a cluster or more is usual)."
        )
    kmeans = faiss.Kmeans(
        width,
        num_clusters,
        niter=num_iterations,
        seed=seed,
        gpu=False,  # True would open every GPU that can be seen, those of the other processes too
        min_points_per_centroid=1,  # the user chose C; Faiss would print a warning below 39 points a centroid
        max_points_per_centroid=num_rows,  # Faiss would silently take a sample above 256 points a centroid
    )
    resources, kmeans.index = _on_gpu(kmeans.index, gpu)
    order = _column_order(features)
    ordered = features if overwrite else np.empty_like(features)
    step = max(1, _BLOCK_ELEMENTS // max(width, 1))
    for start in range(0, num_rows, step):
        ordered[start : start + step] = features[start : start + step][:, order]
    kmeans.train(ordered)
    del resources  # held until here: the index lives in its memory
    centroids = np.empty((num_clusters, width), dtype=np.float32)
    centroids[:, order] = kmeans.centroids
    return centroids


class NearestCentroids:
    """Finds the nearest centroid of each row.

    Made once for all rows of a stage: on a GPU every index allocates 1.5 GiB, whatever it holds.

    Args:
        centroids: (C, F), float32.
        gpu: As `fit_kmeans` takes it.

    Raises:
        ValueError: If there is no centroid, or a value is not finite.
    """

    def __init__(self, centroids: np.ndarray, gpu: int | None = None):
        self._centroids = _check(centroids, "centroids")
        if not len(self._centroids):
            raise ValueError(f"centroids have shape {self._centroids.shape}; there must be a centroid.")
        self._resources, self._index = _on_gpu(faiss.IndexFlatL2(self._centroids.shape[1]), gpu)
        self._index.add(self._centroids)

    def __call__(self, features: np.ndarray, batch_size: int = 65536) -> tuple[np.ndarray, np.ndarray]:
        """The nearest centroid of each row and the squared L2 distance to it.

        Args:
            features: (N, F), float32; N may be 0.
            batch_size: Rows searched at once, at most; changes memory only.

        Returns:
            ``cluster_ids`` (N,), int32, the lower id winning a tie (among the four centroids nearest to the row),
            and ``distances`` (N,), float32, squared L2. A cluster may be empty.

        Raises:
            ValueError: If features and centroids disagree on F, or if a value is not finite.
        """
        features, centroids = _check(features, "features"), self._centroids
        if features.shape[1] != centroids.shape[1]:
            raise ValueError(
                f"features have shape {features.shape} and centroids {centroids.shape}; they must agree on the "
                "second number. Use the representation that the centroids were fitted on."
            )
        cluster_ids = np.empty(len(features), dtype=np.int32)
        distances = np.empty(len(features), dtype=np.float32)
        step = max(1, min(batch_size, _BLOCK_ELEMENTS // max(features.shape[1], 1)))
        for start in range(0, len(features), step):
            stop = min(start + step, len(features))
            block = features[start:stop]
            _, found = self._index.search(block, min(_NUM_CANDIDATES, len(centroids)))
            found.sort(axis=1)  # argmin takes the first of equals, so the lower id wins
            exact = np.stack([_squared_l2(block, centroids[ids]) for ids in found.T], axis=1)  # (n, candidates)
            best = exact.argmin(axis=1)
            rows = np.arange(len(block))
            cluster_ids[start:stop], distances[start:stop] = found[rows, best], exact[rows, best]
        return cluster_ids, distances


def assign(features: np.ndarray, centroids: np.ndarray, batch_size: int = 65536) -> tuple[np.ndarray, np.ndarray]:
    """`NearestCentroids` for one block of rows, on the CPU."""
    return NearestCentroids(centroids)(features, batch_size)


def num_gpus() -> int:
    """GPUs that Faiss can use; 0 for a build without them."""
    return faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0


def _on_gpu(index, gpu: int | None) -> tuple:
    """What the index's memory on that GPU belongs to, to be kept as long as the index, and the index moved there."""
    if gpu is None or not num_gpus():
        return None, index
    resources = faiss.StandardGpuResources()
    return resources, faiss.index_cpu_to_gpu(resources, gpu, index)


def _squared_l2(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    difference = rows - others
    return np.einsum("nf,nf->n", difference, difference, dtype=np.float64).astype(np.float32)


def _column_order(features: np.ndarray) -> np.ndarray:
    """An order of the columns that depends on what they hold, not on where they stand.

    Counts tie exactly and often, and rounding, which follows the order of summation, would break such ties:
    without one order for all numberings of the codes, each numbering had its own clusters.
    """
    weights = np.random.default_rng(0).random(len(features))  # any weights that tell rows apart
    signature = np.zeros(features.shape[1])
    step = max(1, _BLOCK_ELEMENTS // max(features.shape[1], 1))
    for start in range(0, len(features), step):
        block = features[start : start + step]
        # Summed down the rows, each column alone: a matrix product may round a column by its place.
        signature += (block * weights[start : start + step, None]).sum(axis=0)
    return np.argsort(signature, kind="stable")


def _check(values: np.ndarray, name: str) -> np.ndarray:
    values = np.ascontiguousarray(values, dtype=np.float32)
    if values.ndim != 2:
        raise ValueError(f"{name} must have two dimensions; found shape {values.shape}.")
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{name} has {int((~finite).sum())} rows with NaN or infinity (first: row "
            f"{int(finite.argmin())}): leave such samples out, or mend what computed them."
        )
    return values
