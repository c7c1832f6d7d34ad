"""Ledger: every record of the source with all that became of it, part by part."""

import pyarrow as pa

from lavis_tldr.reduction import understudy
from lavis_tldr.runs import ledger
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import STAGES
from lavis_tldr.sources import Part
from lavis_tldr.stages import repair
from lavis_tldr.stages.context import Context, Given, finish_on_first, run_parts


def given(context: Context) -> Given:
    return Given(made_from=("repair",) if repair.load_plan(context) else ())


def run(context: Context, stage: Stage) -> None:
    """Write ``ledger/<part>.parquet``: rows sorted by key."""
    replaced = repair.load_plan(context)
    mine = context.my_parts(stage)
    tables = (_table(context, part, replaced) for part in mine)
    counts, seconds = run_parts(context, stage, mine, tables, ledger.write_ledger)
    finish_on_first(stage, counts, seconds)


def _table(context: Context, part: Part, replaced: dict[str, str]) -> pa.Table:
    records = context.load_part(context.stage("encode"), part.name, ledger.RECORD_COLUMNS)
    selection = context.load_part(context.stage("select"), part.name, STAGES["select"].column_names)
    refined = context.load_part(context.stage("refine"), part.name, STAGES["refine"].column_names)
    if replaced:
        selection = understudy.apply(selection, replaced)
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
