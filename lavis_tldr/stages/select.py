"""Select: which samples of each cluster are kept (paper, sec. 3.2)."""

import logging
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from lavis.common.dist_utils import is_main_process

from lavis_tldr.models.collectives import barrier, from_rank_zero
from lavis_tldr.reduction.quotas import keep_budget
from lavis_tldr.reduction.standing import FILTERED, TWIN, is_kept, understudies
from lavis_tldr.runs.regroup import read_bin
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import STAGES
from lavis_tldr.sources import Part
from lavis_tldr.stages.context import Context, finish_on_first, run_parts
from lavis_tldr.stages.groups import Groups, count, rule_of, take_places, write_by_cluster

logger = logging.getLogger(__name__)


def run(context: Context, stage: Stage) -> None:
    """Write ``select/<part>.parquet``: as the table of stages has them."""
    started = time.monotonic()
    groups = Groups.plan(context, stage)
    groups.folder.mkdir(parents=True, exist_ok=True)
    write_by_cluster(context, groups)
    barrier()
    rule = rule_of(context)
    take_places(context, groups, rule)
    barrier()
    sizes, counts = from_rank_zero(lambda: count(groups, rule))
    mine = context.my_parts(stage)
    totals, _ = run_parts(context, stage, mine, _selected(context, groups, mine, sizes, counts))
    if is_main_process():
        totals["kept"] = int(counts.sum())
        _warn_of_shortage(context, sizes.sum(1), totals["kept"])
    finish_on_first(stage, totals, time.monotonic() - started)


def _selected(
    context: Context, groups: Groups, parts: list[Part], sizes: np.ndarray, counts: np.ndarray
) -> Iterator[pa.Table]:
    clustered = context.stage("cluster")
    paths = [groups.by_part(number) for number in range(groups.number)]
    for part in parts:
        table = context.load_part(clustered, part.name, STAGES["cluster"].column_names)
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
        yield pa.table(
            {**dict(zip(table.column_names, table.columns, strict=True)), **found}, schema=STAGES["select"].schema
        )


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
