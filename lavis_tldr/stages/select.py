"""Select: which samples of each cluster are kept (paper, sec. 3.2)."""

import logging
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from lavis.common.dist_utils import is_main_process

from lavis_tldr.models.collectives import barrier, from_rank_zero
from lavis_tldr.reduction.quotas import keep_budget
from lavis_tldr.reduction.repeats import count_copies
from lavis_tldr.reduction.standing import FILTERED, TWIN, is_kept, understudies
from lavis_tldr.runs.regroup import read_bin
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import STAGES
from lavis_tldr.sources import Part
from lavis_tldr.stages.context import Context, finish_on_first, run_parts
from lavis_tldr.stages.groups import (
    CAPPED,
    IS_FIRST,
    SAMPLE_PLACE,
    Counts,
    Groups,
    count,
    rule_of,
    take_places,
    write_by_cluster,
)

logger = logging.getLogger(__name__)


def run(context: Context, stage: Stage) -> None:
    """Write ``select/<part>.parquet``: as the table of stages has them."""
    started = time.monotonic()
    groups = Groups.plan(context, stage)
    groups.folder.mkdir(parents=True, exist_ok=True)
    write_by_cluster(context, stage, groups)
    barrier()
    rule = rule_of(context, groups)
    take_places(context, groups, rule)
    barrier()
    counts = from_rank_zero(lambda: count(groups, rule))
    mine = context.my_parts(stage)
    totals, _ = run_parts(context, stage, mine, _selected(context, groups, mine, counts))
    if is_main_process():
        totals["kept"] = int(counts.kept.sum())
        if context.config.max_repeats > 1:
            totals["drawn"] = int(counts.kept_copies.sum())
        _warn_of_shortage(context, counts.sizes.sum(1), int(counts.kept_copies.sum()))
    finish_on_first(stage, totals, time.monotonic() - started)


def _selected(context: Context, groups: Groups, parts: list[Part], counts: Counts) -> Iterator[pa.Table]:
    clustered = context.stage("cluster")
    paths = [groups.by_part(number) for number in range(groups.number)]
    schema = STAGES["select"].schema_for(context.config)
    columns = ["row", "cluster", "tier", "place", IS_FIRST, SAMPLE_PLACE, "alignment", "score", "duplicate_of"]
    columns += [CAPPED] if CAPPED in schema.names else []
    for part in parts:
        table = context.load_part(clustered, part.name, STAGES["cluster"].column_names)
        copies = read_bin(paths, context.part_names.index(part.name), columns).sort_by("row")
        rows, clusters, tier, place, is_first = (copies[name].to_numpy() for name in columns[:5])
        repeats = count_copies(rows, is_kept(clusters, tier, place, counts.kept_copies), len(table))
        placed = copies if is_first.all() else copies.filter(pa.array(is_first))  # a row a sample
        clusters, tier, place = (placed[name].to_numpy() for name in ("cluster", "tier", SAMPLE_PLACE))
        found = {
            "alignment": placed["alignment"],
            "score": placed["score"],
            "filtered": pa.array(tier == FILTERED),
            "kept": pa.array(repeats > 0),
            "understudy": pa.array(understudies(clusters, tier, place, counts.sizes, counts.kept)),
            "duplicate_of": placed["duplicate_of"],
            "repeats": pa.array(repeats, pa.int32()),
            **({CAPPED: placed[CAPPED]} if CAPPED in schema.names else {}),
        }
        known = {**dict(zip(table.column_names, table.columns, strict=True)), **found}
        yield pa.table({name: known[name] for name in schema.names}, schema=schema)


def _warn_of_shortage(context: Context, tier_totals: np.ndarray, num_kept: int) -> None:
    config = context.config
    budget = keep_budget(int(tier_totals.sum()), config.keep_ratio)
    if num_kept < budget:
        logger.warning(
            "Only %d samples are left to keep, fewer than the %d that run.keep_ratio %s asks for: all are kept, "
            "whatever their score. Near duplicates: %d (raise run.duplicate_threshold); left out before: %d (raise "
            "run.prefilter_share or run.concept_cap, lower run.min_words). Or lower run.keep_ratio.",
            num_kept,
            budget,
            config.keep_ratio,
            tier_totals[TWIN],
            tier_totals[FILTERED],
        )
