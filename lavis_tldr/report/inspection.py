"""How a run was made: what the manifests of its stages say."""

from __future__ import annotations

import json
from pathlib import Path

from lavis_tldr.report.resuming import resume_command
from lavis_tldr.report.stage_record import DONE, NOT_BEGUN, changed_inputs, source_parts, stage_record
from lavis_tldr.runs.reduced_sets import CONFIG, locate_run, shared_folders, stage_folders
from lavis_tldr.runs.repairs import Repairs
from lavis_tldr.runs.stages import OWN_STAGES

SUMMARY = "summary.json"


def inspect_run(run: Path | str, name: str | None = None) -> dict:
    """The facts of a run, as JSON can say them.

    Args:
        run: The run folder, or one recipe's folder in it.
        name: Only this recipe and what it uses; else all.

    Returns:
        ``run``; ``package_versions``; ``stages``: those that recipes share, by "encode", "score/contrastive" and the
        like; ``recipes`` by name, each with ``uses`` (names of shared stages), ``stages``, ``config`` (the path of the
        config that started it, or None), ``repairs`` (`Repairs.counts`, or None), ``summary`` (its closing figures, or
        None) and ``next`` (what to run where it is not finished, else None). A stage is a `stage_record` with
        ``changed_inputs``: stages before it that have been made anew since.

    Raises:
        ValueError: If there is no such run or recipe, an earlier version made it, or a manifest is damaged.
    """
    root, names = locate_run(run, name)
    parts = source_parts(stage_record(root / "encode"))
    folders = shared_folders(root, names)
    # What a shared stage is made from has no variants.
    shared = {stage: _record(folder, folders, parts) for stage, folder in folders.items()}
    recipes = {recipe: _recipe(root / recipe, shared, parts) for recipe in names}
    stages = [*shared.values(), *(stage for recipe in recipes.values() for stage in recipe["stages"].values())]
    return {
        "run": str(root),
        "package_versions": sorted({str(stage["package_version"]) for stage in stages if stage["state"] != NOT_BEGUN}),
        "stages": shared,
        "recipes": recipes,
    }


def _recipe(folder: Path, shared: dict[str, dict], parts: list[str]) -> dict:
    folders = stage_folders(folder)
    repairs = Repairs.load(folder)
    # Only a recipe that has lost images has a repair.
    names = [name for name in OWN_STAGES if name != "repair" or repairs.replaced]
    stages = {name: _record(folders[name], folders, parts) for name in names}
    run = folders["encode"].parent
    uses = [path.relative_to(run).as_posix() for name, path in folders.items() if name not in OWN_STAGES]
    finished = all(stage["state"] == DONE for stage in [*(shared[name] for name in uses), *stages.values()])
    config = str(folder / CONFIG) if (folder / CONFIG).is_file() else None
    return {
        "config": config,
        "uses": uses,
        "stages": stages,
        "repairs": repairs.counts() if repairs.replaced else None,
        "summary": _summary(folder / SUMMARY),
        "next": None if finished else resume_command(folder / CONFIG),
    }


def _record(folder: Path, folders: dict[str, Path], parts: list[str]) -> dict:
    record = stage_record(folder, parts)
    return record | {"changed_inputs": changed_inputs(folder, record, folders)}


def _summary(path: Path) -> dict | None:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): run the reduction again, which writes it anew.") from error
