"""Repair: captions of the samples that stand in for kept ones whose image is lost.

Which do is written in ``<recipe>/repaired.json``, by the task `tldr_repair`; without that file there is no such stage.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.reduction.manifest import digest_of
from lavis_tldr.reduction.recipes import REPAIR_PLAN
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.sources import Part
from lavis_tldr.tasks.stages import refine, select
from lavis_tldr.tasks.stages.context import Context, finish_on_first, run_parts


def plan_path(context: Context) -> Path:
    return context.recipe_root / REPAIR_PLAN


def load_plan(context: Context) -> dict[str, str]:
    """Key of each kept sample that was lost, and of its stand-in, or "" where its cluster had none left."""
    return _load(context).get("replaced", {})


def load_lost_understudies(context: Context) -> list[str]:
    """Keys of understudies that were passed over, since their images were lost as well."""
    return _load(context).get("understudies_lost", [])


def _load(context: Context) -> dict:
    path = plan_path(context)
    if not path.is_file():
        return {}
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(plan, dict) and isinstance(plan.get("replaced"), dict):
            return plan
        error = "no mapping 'replaced'"
    except ValueError as problem:
        error = problem
    raise ValueError(
        f"{path} should say which images were replaced, and can't be read ({error}). Delete it, and run `lavis-tldr "
        "reduce` with `--restart ledger` and then `lavis-tldr repair` again."
    )


def stage_of(context: Context) -> Stage:
    return context.stage("repair", lambda: _definition(context))


def _definition(context: Context) -> tuple[dict, dict[str, str]]:
    # The plan's digest, not the plan: it may name millions.
    settings = {**refine.settings(context), "plan": digest_of(load_plan(context))}
    return settings, {"refine": refine.stage_of(context).digest}


def run(context: Context, stage: Stage) -> None:
    """Write ``repair/<part>.parquet``: what refine writes, of the stand-ins."""
    mine = context.my_parts(stage)
    replaced = load_plan(context)
    stand_ins = pa.array([key for key in replaced.values() if key and key not in replaced], pa.string())

    def refined(part: Part) -> pa.Table:
        table = context.load_part(select.stage_of(context), part.name, ["key", "alignment"])
        return refine.refine_part(context, part, table.filter(pc.is_in(table["key"], stand_ins)))

    counts, seconds = run_parts(context, stage, mine, map(refined, mine))
    finish_on_first(stage, counts, seconds)


def captions(context: Context, part_name: str, refined: pa.Table, replaced: dict[str, str]) -> pa.Table:
    """A part's refined captions, those of lost samples left out and those of stand-ins added."""
    lost = pc.is_in(refined["key"], pa.array(list(replaced), pa.string()))
    added = context.load_part(stage_of(context), part_name, refined.column_names)
    return pa.concat_tables([refined.filter(pc.invert(lost)), added])
