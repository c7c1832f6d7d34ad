"""Cluster: K-Means over what represents the images (paper, sec. 3.2)."""

import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lavis.common.dist_utils import is_main_process

from lavis_tldr.reduction.clustering import assign, fit_kmeans
from lavis_tldr.reduction.representation import inverse_document_frequency, represent
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.reduction.selection import sample_rows
from lavis_tldr.sources import check_unique_keys
from lavis_tldr.tasks.stages import encode
from lavis_tldr.tasks.stages.context import Context, finish_on_first, write_table

_BLOCK = 8192  # rows represented at once


def stage_of(context: Context) -> Stage:
    config = context.config
    settings = {
        "representation": config.representation,
        "num_clusters": config.num_clusters,
        "fit_size": config.fit_size,
        "seed": config.seed,
    }
    if config.representation == "histogram":
        settings["tfidf"] = config.tfidf
    return context.stage("cluster", settings, {"encode": encode.stage_of(context).digest})


def run(context: Context, stage: Stage) -> None:
    """Write ``cluster/clusters.parquet`` (key, cluster, distance) and ``cluster/centroids.npy``.

    Raises:
        ValueError: If there are fewer usable samples than clusters, or a key is doubled.
    """
    started = time.monotonic()
    counts = {}
    if is_main_process():
        keys, codes = load_codes(context)
        config = context.config
        if len(keys) < config.num_clusters:
            raise ValueError(
                f"run.num_clusters is {config.num_clusters}, but only {len(keys)} samples can be used. Set it to "
                f"{max(1, len(keys) // 20)} or so (the paper has about 900 samples a cluster), or give more data."
            )
        represented = Representer(context, codes)
        drawn = sample_rows(keys, config.fit_size, seed=config.seed)
        centroids = fit_kmeans(represented(codes[drawn]), config.num_clusters, seed=config.seed)
        blocks = [assign(represented(codes[i : i + _BLOCK]), centroids) for i in range(0, len(codes), _BLOCK)]
        cluster_ids = np.concatenate([block[0] for block in blocks])
        distances = np.concatenate([block[1] for block in blocks])
        with stage.write("centroids.npy") as path:
            np.save(path, centroids, allow_pickle=False)
        table = pa.table({"key": keys, "cluster": cluster_ids, "distance": distances})
        write_table(stage, "clusters.parquet", table)
        sizes = np.bincount(cluster_ids, minlength=config.num_clusters)
        counts = {"read": len(keys), "clusters": config.num_clusters, "empty": int((sizes == 0).sum())}
    finish_on_first(stage, counts, time.monotonic() - started)


def load_codes(context: Context) -> tuple[list[str], np.ndarray]:
    """Keys, N of them, and codes (N, L) of the usable samples, sorted by key so that file order decides nothing.

    Raises:
        ValueError: If a key is doubled; names the parts that have it.
    """
    stage = encode.stage_of(context)
    all_keys, keys, codes = [], [], []
    for name in context.part_names:
        table = context.load_part(stage, name, ["key", "codes"])
        all_keys.append(table["key"].combine_chunks())
        keys += table["key"].filter(table["codes"].is_valid()).chunks
        codes.append(encode.codes_of(table, context.model.num_patches))
    if len(pc.unique(pa.chunked_array(all_keys))) < sum(map(len, all_keys)):
        check_unique_keys((name, ks.to_pylist()) for name, ks in zip(context.part_names, all_keys, strict=True))
    usable = pa.chunked_array(keys, pa.string())
    order = pc.sort_indices(usable)
    return usable.take(order).to_pylist(), np.concatenate(codes)[order.to_numpy()]


class Representer:
    """Codes (N, L) to what is clustered (N, F), as the config says.

    Args:
        context: The run.
        codes: Those of the whole set, for the document frequencies of tf-idf.
        representation: Another than the config's.
    """

    def __init__(self, context: Context, codes: np.ndarray, representation: str | None = None):
        quantizer = context.model.quantizer
        kind = representation or context.config.representation
        self._options = {"kind": kind, "num_codes": quantizer.num_codes}
        if kind == "histogram" and context.config.tfidf:
            self._options |= {"tfidf": True, "idf": inverse_document_frequency(codes, quantizer.num_codes)}
        if kind == "embedding":
            self._options["codebook"] = quantizer.codebook.detach().float().cpu().numpy()

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        return represent(codes, **self._options)
