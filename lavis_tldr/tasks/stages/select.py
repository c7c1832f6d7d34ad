"""Select: which samples of each cluster are kept (paper, sec. 3.2)."""

import logging
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lavis.common.dist_utils import is_main_process

from lavis_tldr.reduction.ledger import join_by_key
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.reduction.selection import find_near_duplicates, keep_budget, select_aligned, select_uniform
from lavis_tldr.tasks.alignment import combine_scores
from lavis_tldr.tasks.stages import cluster, score
from lavis_tldr.tasks.stages.context import Context, finish_on_first, write_table


def stage_of(context: Context) -> Stage:
    config = context.config
    settings = {"selection": config.selection, "keep_ratio": config.keep_ratio, "seed": config.seed}
    inputs = {"cluster": cluster.stage_of(context).digest}
    if config.needs_scores:
        inputs["score"] = score.stage_of(context).digest
        settings |= {"alignment": config.alignment}
    if config.selection == "aligned":
        settings |= {"balance": config.balance, "duplicate_threshold": config.duplicate_threshold}
    return context.stage("select", settings, inputs)


def run(context: Context, stage: Stage) -> None:
    """Write ``select/selection.parquet``: key, cluster, distance, alignment, kept, duplicate_of."""
    started = time.monotonic()
    counts = {}
    if is_main_process():
        table = pq.read_table(cluster.stage_of(context).folder / "clusters.parquet")
        table = table.append_column("alignment", pa.array(_alignment(context, table), pa.float32()))
        kept, duplicate_of = _select(context, table)
        table = table.append_column("kept", pa.array(kept)).append_column("duplicate_of", pa.array(duplicate_of))
        budget = keep_budget(table.num_rows, context.config.keep_ratio)
        if kept.sum() < budget:
            logging.warning(
                "Only %d samples are no near duplicates, fewer than the %d to keep: all are kept, whatever their "
                "alignment. Raise run.duplicate_threshold (%s), or lower run.keep_ratio.",
                kept.sum(),
                budget,
                context.config.duplicate_threshold,
            )
        write_table(stage, "selection.parquet", table)
        counts = {"read": table.num_rows, "kept": int(kept.sum())}
    finish_on_first(stage, counts, time.monotonic() - started)


def _alignment(context: Context, table: pa.Table) -> np.ndarray:
    if not context.config.needs_scores:
        return np.full(table.num_rows, np.nan, np.float32)
    scores = context.load(score.stage_of(context), ["key", *score.SCORES])
    joined = join_by_key(table.select(["key"]), scores, left_name="clusters", right_name="scores")
    return combine_scores({name: joined[name].to_numpy() for name in score.SCORES}, context.config.alignment)


def _select(context: Context, table: pa.Table) -> tuple[np.ndarray, list[str]]:
    config = context.config
    keys = table["key"].to_pylist()
    cluster_ids = table["cluster"].to_numpy()
    if config.selection == "uniform":
        return select_uniform(keys, cluster_ids, config.keep_ratio, seed=config.seed), [""] * len(keys)
    alignment = table["alignment"].to_numpy()
    duplicate_of = [""] * len(keys)
    if config.duplicate_threshold is not None:
        duplicate_of = _near_duplicates(context, keys, cluster_ids, alignment)
    kept = select_aligned(
        keys,
        cluster_ids,
        alignment,
        config.keep_ratio,
        seed=config.seed,
        balance=config.balance,
        duplicate_of=duplicate_of,
    )
    return kept, duplicate_of


def _near_duplicates(context: Context, keys: list[str], cluster_ids: np.ndarray, alignment: np.ndarray) -> list[str]:
    """The better twin of each sample, or "".

    Twins are told by which codes they share, whatever is clustered. Pairs of one image are twins, too: the caption
    that fits best stays.
    """
    found_keys, codes = cluster.load_codes(context)
    if found_keys != keys:
        raise ValueError("clusters and codes are of different samples: run again with `--restart cluster`.")
    represented = cluster.Representer(context, codes, representation="histogram")
    duplicate_of = np.full(len(keys), "", dtype=object)
    names = np.array(keys, dtype=object)
    # Cluster by cluster: the histograms of a large set would not fit in memory.
    by_cluster = np.argsort(cluster_ids, kind="stable")
    ends = np.flatnonzero(np.diff(cluster_ids[by_cluster])) + 1
    for rows in np.split(by_cluster, ends):
        duplicate_of[rows] = find_near_duplicates(
            represented(codes[rows]),
            cluster_ids[rows],
            context.config.duplicate_threshold,
            alignment[rows],
            names[rows],
        )
    return duplicate_of.tolist()
