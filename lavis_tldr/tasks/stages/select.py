"""Select: which samples of each cluster are kept (paper, sec. 3.2)."""

import logging
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from lavis.common.dist_utils import is_main_process

from lavis_tldr.reduction.regroup import read_bin
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.reduction.selection import is_kept, keep_budget, understudies
from lavis_tldr.runners.process_group import from_rank_zero
from lavis_tldr.sources import Part
from lavis_tldr.tasks.captioner_start import barrier
from lavis_tldr.tasks.stages import cluster, score
from lavis_tldr.tasks.stages.context import Context, finish_on_first, run_parts
from lavis_tldr.tasks.stages.standing import Groups, count, take_places, write_by_cluster

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("cluster", pa.int32()),
        ("distance", pa.float32()),
        ("alignment", pa.float32()),  # NaN where not scored
        ("kept", pa.bool_()),
        ("understudy", pa.int32()),  # place among the dropped of its cluster, 0 if kept
        ("duplicate_of", pa.string()),
    ]
)


def stage_of(context: Context) -> Stage:
    return context.stage("select", lambda: _definition(context))


def _definition(context: Context) -> tuple[dict, dict[str, str]]:
    config = context.config
    settings = {"selection": config.selection, "keep_ratio": config.keep_ratio, "seed": config.seed}
    inputs = {"cluster": cluster.stage_of(context).digest}
    if config.needs_scores:
        inputs["score"] = score.stage_of(context).digest
        settings |= {"alignment": config.alignment}
    if config.selection == "aligned":
        settings |= {"balance": config.balance, "duplicate_threshold": config.duplicate_threshold}
    return settings, inputs


def run(context: Context, stage: Stage) -> None:
    """Write ``select/<part>.parquet``: key, cluster, distance, alignment, kept, understudy, duplicate_of."""
    started = time.monotonic()
    sizes = cluster.load_array(cluster.stage_of(context).folder / cluster.SIZES, context.config.num_clusters)
    groups = Groups.plan(context, stage, sizes)
    groups.folder.mkdir(parents=True, exist_ok=True)
    write_by_cluster(context, groups)
    barrier()
    take_places(context, groups)
    barrier()
    counts = from_rank_zero(lambda: count(context, groups))
    mine = context.my_parts(stage)
    totals, _ = run_parts(context, stage, mine, _selected(context, groups, mine, *counts))
    if is_main_process():
        totals["kept"] = int(counts[1].sum())
        _warn_of_shortage(context, int(sizes.sum()), totals["kept"])
    finish_on_first(stage, totals, time.monotonic() - started)


def _selected(
    context: Context, groups: Groups, parts: list[Part], sizes: np.ndarray, counts: np.ndarray
) -> Iterator[pa.Table]:
    clustered = cluster.stage_of(context)
    paths = [groups.by_part(number) for number in range(groups.number)]
    for part in parts:
        table = context.load_part(clustered, part.name, ["key", "cluster", "distance"])
        columns = ["row", "cluster", "alignment", "duplicate_of", "tier", "place"]
        placed = read_bin(paths, context.part_names.index(part.name), columns).sort_by("row")
        where = placed["cluster"].to_numpy(), placed["tier"].to_numpy(), placed["place"].to_numpy()
        found = {
            "alignment": placed["alignment"],
            "kept": pa.array(is_kept(*where, counts)),
            "understudy": pa.array(understudies(*where, sizes, counts)),
            "duplicate_of": placed["duplicate_of"],
        }
        yield pa.table({**dict(zip(table.column_names, table.columns, strict=True)), **found}, schema=SCHEMA)


def _warn_of_shortage(context: Context, num_samples: int, num_kept: int) -> None:
    budget = keep_budget(num_samples, context.config.keep_ratio)
    if num_kept < budget:
        logging.warning(
            "Only %d samples are no near duplicates, fewer than the %d to keep: all are kept, whatever their "
            "alignment. Raise run.duplicate_threshold (%s), or lower run.keep_ratio.",
            num_kept,
            budget,
            context.config.duplicate_threshold,
        )
