"""Repair: captions of the samples that stand in for kept ones whose image is lost.

Which do is written in ``<recipe>/repaired.json``, by the task `tldr_repair`; without that file there is no such stage.
"""

import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.runs.manifest import digest_of
from lavis_tldr.runs.repairs import Repairs
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.sources import Part
from lavis_tldr.stages import refine
from lavis_tldr.stages.context import Context, Given, finish_on_first, run_parts


def load_plan(context: Context) -> dict[str, str]:
    """Key of each kept sample that was lost, and of its stand-in, or "" where its cluster had none left."""
    return Repairs.load(context.set_root).replaced


def given(context: Context) -> Given:
    return Given({"plan": digest_of(load_plan(context))})  # not the plan: it may name millions


def run(context: Context, stage: Stage) -> None:
    """Write ``repair/<part>.parquet``: what refine writes, of the stand-ins."""
    mine = context.my_parts(stage)
    replaced = load_plan(context)
    refine_part = refine.Refiner(context)
    stand_ins = pa.array([key for key in replaced.values() if key and key not in replaced], pa.string())

    def refined(part: Part) -> pa.Table:
        table = context.load_part(context.stage("select"), part.name, ["key", "alignment"])
        return refine_part(part, table.filter(pc.is_in(table["key"], stand_ins)))

    counts, seconds = run_parts(context, stage, mine, map(refined, mine))
    finish_on_first(stage, counts, seconds)


def captions(context: Context, part_name: str, refined: pa.Table, replaced: dict[str, str]) -> pa.Table:
    """A part's refined captions, those of lost samples left out and those of stand-ins added."""
    lost = pc.is_in(refined["key"], pa.array(list(replaced), pa.string()))
    added = context.load_part(context.stage("repair"), part_name, refined.column_names)
    return pa.concat_tables([refined.filter(pc.invert(lost)), added])
