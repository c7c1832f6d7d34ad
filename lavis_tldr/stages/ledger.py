"""Ledger: every record of the source with all that became of it, part by part."""

import pyarrow as pa

from lavis_tldr.reduction import understudy
from lavis_tldr.runs import ledger
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.sources import Part
from lavis_tldr.stages import encode, refine, repair, select
from lavis_tldr.stages.context import Context, finish_on_first, run_parts

_RECORD_COLUMNS = ["key", "image_key", "caption_original", "error", "image_path", "image_offset", "image_size"]


def stage_of(context: Context) -> Stage:
    return context.stage("ledger", lambda: (_settings(context), _inputs(context)))


def _settings(context: Context) -> dict:
    config = context.config
    settings: dict = {"selection": config.selection, "prefilter": config.prefilter}
    return settings | ({"min_words": config.min_words} if config.min_words else {})


def _inputs(context: Context) -> dict[str, str]:
    inputs = {"refine": refine.stage_of(context).digest}
    return inputs | ({"repair": repair.stage_of(context).digest} if repair.load_plan(context) else {})


def run(context: Context, stage: Stage) -> None:
    """Write ``ledger/<part>.parquet``: columns of `lavis_tldr.runs.ledger.SCHEMA`, rows sorted by key."""
    replaced = repair.load_plan(context)
    mine = context.my_parts(stage)
    tables = (_table(context, part, replaced) for part in mine)
    counts, seconds = run_parts(context, stage, mine, tables, ledger.write_ledger)
    finish_on_first(stage, counts, seconds)


def _table(context: Context, part: Part, replaced: dict[str, str]) -> pa.Table:
    records = context.load_part(encode.stage_of(context), part.name, _RECORD_COLUMNS)
    selection = context.load_part(select.stage_of(context), part.name, select.SCHEMA.names)
    refined = context.load_part(refine.stage_of(context), part.name, refine.SCHEMA.names)
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
