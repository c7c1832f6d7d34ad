"""Ledger: every record of the source with all that became of it, part by part."""

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.reduction import understudy
from lavis_tldr.runs import ledger
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import REPEATS, STAGES
from lavis_tldr.sources import Part
from lavis_tldr.stages import repair
from lavis_tldr.stages.context import Context, Given, finish_on_first, run_parts


def given(context: Context) -> Given:
    return Given(made_from=("repair",) if repair.load_plan(context) else ())


def run(context: Context, stage: Stage) -> None:
    """Write ``ledger/<part>.parquet``: rows sorted by key."""
    replaced = repair.load_plan(context)
    mine = context.my_parts(stage)
    repeats = _repeats_of(context, replaced) if mine and replaced and context.config.max_repeats > 1 else {}
    tables = (_table(context, part, replaced, repeats) for part in mine)
    counts, seconds = run_parts(context, stage, mine, tables, ledger.write_ledger)
    finish_on_first(stage, counts, seconds)


def _repeats_of(context: Context, lost: Collection[str]) -> dict[str, int]:
    """How often the selection keeps samples, wherever they are."""
    keys = pa.array(list(lost), pa.string())
    found = {}
    for table in context.load_parts(context.stage("select"), ["key", REPEATS]):
        rows = table.filter(pc.is_in(table["key"], keys))
        found |= zip(rows["key"].to_pylist(), rows[REPEATS].to_pylist(), strict=True)
    return found


def _table(context: Context, part: Part, replaced: dict[str, str], repeats: dict[str, int]) -> pa.Table:
    records = context.load_part(context.stage("encode"), part.name, ledger.RECORD_COLUMNS)
    columns = {name: STAGES[name].schema_for(context.config).names for name in ("select", "refine")}
    selection = context.load_part(context.stage("select"), part.name, columns["select"])
    refined = context.load_part(context.stage("refine"), part.name, columns["refine"])
    if replaced:
        selection = understudy.apply(selection, replaced, repeats)
        refined = repair.captions(context, part.name, refined, replaced)
    return ledger.ledger_of(
        part.name,
        records,
        selection,
        refined,
        criterion=context.config.selection,
        prefilter=context.config.prefilter,
        min_words=context.config.min_words,
        replaced=replaced,
    )
