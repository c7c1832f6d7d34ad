"""Select: which samples of each cluster are kept (paper, sec. 3.2)."""

import logging
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from lavis.common.dist_utils import is_main_process

from lavis_tldr.models.collectives import barrier, from_rank_zero
from lavis_tldr.reduction.criteria import CRITERIA, RANDOM
from lavis_tldr.reduction.quotas import keep_budget
from lavis_tldr.reduction.standing import FILTERED, TWIN, is_kept, understudies
from lavis_tldr.runs.regroup import read_bin
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.sources import Part
from lavis_tldr.stages import cluster, measures
from lavis_tldr.stages.context import Context, finish_on_first, run_parts
from lavis_tldr.stages.groups import Groups, count, take_places, write_by_cluster

logger = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("cluster", pa.int32()),
        ("distance", pa.float32()),
        ("prototype_distance", pa.float32()),
        ("alignment", pa.float32()),  # NaN where not scored
        ("score", pa.float32()),  # what the selection ranks by, higher is kept first; NaN where the draw decides
        ("filtered", pa.bool_()),  # left out by the prefilter, or for a short caption
        ("kept", pa.bool_()),
        ("understudy", pa.int32()),  # place among the dropped of its cluster, 0 if kept
        ("duplicate_of", pa.string()),
    ]
)
_OF_CLUSTER = ["key", "cluster", "distance", "prototype_distance"]


def stage_of(context: Context) -> Stage:
    return context.stage("select", lambda: (settings(context), measures.inputs_of(context)))


def settings(context: Context) -> dict:
    """What decides the selection: only what has a say in it."""
    config = context.config
    names = ["selection", "keep_ratio", "seed"]
    names += ["alignment"] if config.needs_scores else []
    names += ["balance"] if config.selection in CRITERIA else []
    names += ["quota", "density_temperature"] if config.quota == "density" and config.selection != RANDOM else []
    names += ["prefilter", "prefilter_share", "prefilter_scope"] if config.prefilter else []
    names += ["min_words"] if config.min_words else []
    if config.duplicate_threshold is not None:
        names += ["duplicate_threshold", "duplicate_by"]
        names += ["tfidf"] if config.duplicate_by == "histogram" else []  # of those histograms, whatever is clustered
    return {name: getattr(config, name) for name in names}


def run(context: Context, stage: Stage) -> None:
    """Write ``select/<part>.parquet``: columns of `SCHEMA`."""
    started = time.monotonic()
    groups = Groups.plan(context, stage)
    groups.folder.mkdir(parents=True, exist_ok=True)
    write_by_cluster(context, groups)
    barrier()
    take_places(context, groups)
    barrier()
    sizes, counts = from_rank_zero(lambda: count(context, groups))
    mine = context.my_parts(stage)
    totals, _ = run_parts(context, stage, mine, _selected(context, groups, mine, sizes, counts))
    if is_main_process():
        totals["kept"] = int(counts.sum())
        _warn_of_shortage(context, sizes.sum(1), totals["kept"])
    finish_on_first(stage, totals, time.monotonic() - started)


def _selected(
    context: Context, groups: Groups, parts: list[Part], sizes: np.ndarray, counts: np.ndarray
) -> Iterator[pa.Table]:
    clustered = cluster.stage_of(context)
    paths = [groups.by_part(number) for number in range(groups.number)]
    for part in parts:
        table = context.load_part(clustered, part.name, _OF_CLUSTER)
        columns = ["row", "cluster", "alignment", "score", "duplicate_of", "tier", "place"]
        placed = read_bin(paths, context.part_names.index(part.name), columns).sort_by("row")
        where = placed["cluster"].to_numpy(), placed["tier"].to_numpy(), placed["place"].to_numpy()
        found = {
            "alignment": placed["alignment"],
            "score": placed["score"],
            "filtered": pa.array(where[1] == FILTERED),
            "kept": pa.array(is_kept(*where, counts)),
            "understudy": pa.array(understudies(*where, sizes, counts)),
            "duplicate_of": placed["duplicate_of"],
        }
        yield pa.table({**dict(zip(table.column_names, table.columns, strict=True)), **found}, schema=SCHEMA)


def _warn_of_shortage(context: Context, tier_totals: np.ndarray, num_kept: int) -> None:
    config = context.config
    budget = keep_budget(int(tier_totals.sum()), config.keep_ratio)
    if num_kept < budget:
        logger.warning(
            "Only %d samples are left to keep, fewer than the %d that run.keep_ratio %s asks for: all are kept, "
            "whatever their score. Near duplicates: %d (raise run.duplicate_threshold); left out before: %d (raise "
            "run.prefilter_share, lower run.min_words). Or lower run.keep_ratio.",
            num_kept,
            budget,
            config.keep_ratio,
            tier_totals[TWIN],
            tier_totals[FILTERED],
        )
