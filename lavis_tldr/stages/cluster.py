"""Cluster: K-Means over what represents the images (paper, sec. 3.2)."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from lavis.common.dist_utils import is_main_process

from lavis_tldr.reduction.clustering import NearestCentroids, fit_kmeans
from lavis_tldr.reduction.prototypes import prototype_distances, sizes_and_spreads
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import CENTROIDS, SIZES, SPREADS, STAGES
from lavis_tldr.sources import Part
from lavis_tldr.stages import encode
from lavis_tldr.stages.context import Context, Given, finish_on_first, make_once, run_parts
from lavis_tldr.stages.representer import PairRepresenter, inputs_of
from lavis_tldr.stages.sampling import Sample, draw_sample, load_drawn

_BLOCK = 4096  # rows represented at once


def given(context: Context) -> Given:
    return Given({"prototype_distance": "cosine"}, inputs_of(context))


def run(context: Context, stage: Stage) -> None:
    """Write parts (key, cluster, distance, prototype_distance), ``centroids.npy``, ``sizes.npy`` and ``spreads.npy``.

    The first process fits the centroids on a drawn sample; then all assign, each its parts.

    Raises:
        ValueError: If there are fewer usable samples than clusters.
    """
    config = context.config
    statistics = encode.statistics(context)
    usable = statistics.num_usable
    if usable < config.num_clusters:
        raise ValueError(
            f"run.num_clusters is {config.num_clusters}, but only {usable} samples can be used. Set it to "
            f"{max(1, usable // 20)} or so (the paper has about 900 samples a cluster), or give more data."
        )
    represented = PairRepresenter(context, statistics)
    make_once(stage, CENTROIDS, lambda: _fitted(context, represented))
    centroids = load_array(context, CENTROIDS)
    mine = context.my_parts(stage)
    counts, seconds = run_parts(context, stage, mine, _assigned(context, mine, represented, centroids))
    if is_main_process():
        tables = context.load_parts(stage, ["cluster", "prototype_distance"])
        blocks = ([column.to_numpy() for column in table.columns] for table in tables)
        sizes, spreads = sizes_and_spreads(blocks, config.num_clusters)
        for name, values in ((SIZES, sizes), (SPREADS, spreads)):
            with stage.write(name) as temporary:
                np.save(temporary, values, allow_pickle=False)
        counts |= {"clusters": config.num_clusters, "empty": int((sizes == 0).sum())}
    finish_on_first(stage, counts, seconds)


def _fitted(context: Context, represented: PairRepresenter) -> Callable[[Path], None]:
    """What writes the centroids, fitted on a drawn sample."""
    config = context.config
    features = _sample_features(context, represented, draw_sample(context, config.fit_size, config.seed))
    centroids = fit_kmeans(features, config.num_clusters, seed=config.seed, overwrite=True, gpu=context.gpu)
    return partial(np.save, arr=centroids, allow_pickle=False)


def _sample_features(context: Context, represented: PairRepresenter, sample: Sample) -> np.ndarray:
    """Features of the sample in its order, (n, F), float32."""
    features = None
    for table, places in load_drawn(context, sample, represented.columns):
        for start in range(0, len(places), _BLOCK):
            block = represented(table.slice(start, _BLOCK))
            if features is None:  # F is the representation's business
                features = np.empty((len(sample), block.shape[1]), np.float32)
            features[places[start : start + _BLOCK]] = block
    return features


def _assigned(
    context: Context, parts: list[Part], represented: PairRepresenter, centroids: np.ndarray
) -> Iterator[pa.Table]:
    nearest = NearestCentroids(centroids, context.gpu)
    for part in parts:
        table = encode.load_usable(context, part.name, ["key", *represented.columns])
        starts = range(0, max(len(table), 1), _BLOCK)
        blocks = [_placed(represented(table.slice(i, _BLOCK)), centroids, nearest) for i in starts]
        columns = map(np.concatenate, zip(*blocks, strict=True))
        schema = STAGES["cluster"].schema
        yield pa.table([table["key"], *columns], schema=schema)


def _placed(
    features: np.ndarray, centroids: np.ndarray, nearest: NearestCentroids
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cluster, distance and prototype distance of samples, (n,) each."""
    cluster_ids, distances = nearest(features)
    return cluster_ids, distances, prototype_distances(features, centroids, cluster_ids)


def load_array(context: Context, name: str) -> np.ndarray:
    """An array of the stage, a row a cluster: `SIZES` (C,), `SPREADS` (C,) or `CENTROIDS` (C, F).

    Raises:
        ValueError: If the file holds something else, such as a pickle, which is never loaded.
    """
    path, num_clusters = context.stage("cluster").folder / name, context.config.num_clusters
    try:
        found = np.load(path, allow_pickle=False)
        if len(found) == num_clusters:
            return found
        what = f"{len(found)} rows"
    except (ValueError, EOFError, TypeError) as error:
        what = f"no plain array ({error})"
    raise ValueError(
        f"{path} should hold an array of {num_clusters} rows, one a cluster; found {what}. Make it anew with "
        "`--restart cluster`."
    )
