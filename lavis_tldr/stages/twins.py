"""Near duplicates among the samples of whole clusters (for `select`)."""

import numpy as np
import pyarrow as pa

from lavis_tldr.models.collectives import from_rank_zero
from lavis_tldr.reduction.criteria import rank_bits
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.duplicates import find_near_duplicates
from lavis_tldr.reduction.representation import normalise_rows
from lavis_tldr.runs.code_tables import rows_of
from lavis_tldr.stages import encode
from lavis_tldr.stages.context import Context
from lavis_tldr.stages.representer import Representer

COLUMNS = {"histogram": "codes", "feature": "feature"}  # of encode's table, by what tells twins


class Twins:
    """Finds near duplicates, by which codes they share or by their pooled image features, whatever is clustered.

    Features are centred on the set's mean before they are compared. Any two photos have much in common: in
    flickr8k-web the median cosine of two of them is 0.76 as they are and 0.02 centred, and 99% have a neighbour above
    0.9, centred 38%.

    Args:
        context: The run; to be made by all processes together.
    """

    def __init__(self, context: Context):
        self._config = context.config
        if context.config.duplicate_by == "histogram":
            self._width, self._dtype = context.model.num_patches, np.uint16
            self._vectors = Representer(context, encode.statistics(context), "histogram")
        else:
            self._width, self._dtype = context.model.pooled_width, np.float16
            mean, width = from_rank_zero(lambda: _mean_feature(context)), context.model.encoder_width
            self._vectors = lambda pooled: normalise_rows((_of_patches(pooled, width) - mean).astype(np.float32))

    def __call__(self, table: pa.Table) -> np.ndarray:
        """The better twin's key of each sample, or "", (N,), object.

        Pairs of one image are twins, too. The best aligned stays, else the one with the best score, else the one that
        is drawn first.

        Args:
            table: key, cluster, alignment, score and one of `COLUMNS`, sorted by key; no cluster is given in part.
        """
        keys, cluster_ids = np.array(table["key"].to_pylist(), object), table["cluster"].to_numpy()
        ranking = [rank_bits(table[name].to_numpy()) for name in ("score", "alignment")]
        rank = np.empty(len(keys), np.int64)
        rank[np.lexsort((draw_priority(keys, self._config.seed), *ranking))] = -np.arange(len(keys))
        compared = rows_of(table[COLUMNS[self._config.duplicate_by]], self._width, self._dtype)
        duplicate_of = np.full(len(keys), "", dtype=object)
        # Cluster by cluster: the histograms of a large group would not fit in memory.
        by_cluster = np.argsort(cluster_ids, kind="stable")
        ends = np.flatnonzero(np.diff(cluster_ids[by_cluster])) + 1
        for rows in np.split(by_cluster, ends):
            vectors = self._vectors(compared[rows])
            duplicate_of[rows] = find_near_duplicates(
                vectors, cluster_ids[rows], self._config.duplicate_threshold, rank[rows], keys[rows]
            )
        return duplicate_of


def _mean_feature(context: Context) -> np.ndarray:
    """Mean of all usable samples' features, (D,), float64; sums of float16 are exact in it, whatever their order."""
    total, count = np.zeros(context.model.encoder_width), 0
    for table in context.load_parts(context.stage("encode"), ["feature"]):
        features = _of_patches(encode.features_of(table, context.model.pooled_width), context.model.encoder_width)
        total, count = total + features.sum(0, dtype=np.float64), count + len(features)
    return total / max(count, 1)


def _of_patches(pooled: np.ndarray, width: int) -> np.ndarray:
    """Mean patch features, (N, D), of what encode pools, which ends with [CLS], (N, 2 D)."""
    return pooled[:, :width]
