"""The recipes of a run folder: ``RUN/NAME/``, each with its own stages, and the stages that they share.

A shared stage that recipes may want otherwise than each other has a folder for each variant, named by what tells them
apart: ``RUN/score/contrastive/``, ``RUN/cluster/embedding-300-seed42/``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from lavis_tldr.files import write_whole

from .run_folder import MANIFEST

SHARED_STAGES = ("encode", "caption", "score", "gradient", "cluster")
VARIED_STAGES = ("score", "cluster")
RECIPE_STAGES = ("select", "refine", "repair", "ledger", "build")
CONFIG, VARIANTS = "config.yaml", "variants.json"
REPAIR_PLAN = "repaired.json"


def shared_folders(run: Path | str) -> dict[str, Path]:
    """Folders of the shared stages that have begun, all variants, by "encode", "score/contrastive" and the like."""
    run = Path(run)
    found = {}
    for stage in SHARED_STAGES:
        folders = sorted(path for path in (run / stage).glob("*") if path.is_dir()) if stage in VARIED_STAGES else []
        for folder in folders or [run / stage]:
            if (folder / MANIFEST).is_file():
                found[folder.relative_to(run).as_posix()] = folder
    return found


def stage_folders(recipe: Path | str) -> dict[str, Path]:
    """The folder of every stage that a recipe uses, begun or not, by the stage's name.

    Raises:
        ValueError: If the note of its variants is damaged.
    """
    recipe = Path(recipe)
    run = _whole(recipe).parent
    shared = {stage: run / stage for stage in SHARED_STAGES if stage not in VARIED_STAGES}
    varied = {stage: run / stage / variant for stage, variant in _variants(recipe).items()}
    folders = {**shared, **varied, **{stage: recipe / stage for stage in RECIPE_STAGES}}
    return {stage: folders[stage] for stage in (*SHARED_STAGES, *RECIPE_STAGES) if stage in folders}


def note_variants(recipe: Path, variants: Mapping[str, str]) -> None:
    """Remember which variants of the shared stages a recipe uses, by stage."""
    with write_whole(recipe / VARIANTS) as path:
        path.write_text(json.dumps(dict(variants), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _variants(recipe: Path) -> dict[str, str]:
    path = recipe / VARIANTS
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(
            f"{path} is no JSON ({error}): run `lavis-tldr reduce` again, which writes it anew."
        ) from error


def is_recipe(folder: Path | str) -> bool:
    """Whether the folder is one recipe's: it has the config that started it, or a stage of it."""
    folder = Path(folder)
    return (folder / CONFIG).is_file() or any((folder / stage / MANIFEST).is_file() for stage in RECIPE_STAGES)


def recipe_names(run: Path | str) -> list[str]:
    """Names of the recipes in a run folder, sorted."""
    run = Path(run)
    if not run.is_dir():
        return []
    return sorted(path.name for path in run.iterdir() if path.name not in SHARED_STAGES and is_recipe(path))


def locate_run(run: Path | str, name: str | None = None) -> tuple[Path, list[str]]:
    """The run folder and names of its recipes: all of them (there may be none yet), or the one that is named.

    Args:
        run: The run folder, or one recipe's folder in it.
        name: Of one recipe.

    Raises:
        ValueError: If there is no such folder or recipe.
    """
    run = Path(run)
    names = recipe_names(run)
    if name is None and (names or (run / SHARED_STAGES[0] / MANIFEST).is_file()):
        return run, names
    recipe = find_recipe(run, name)
    return (run, [recipe.name]) if recipe != run else (_whole(run).parent, [_whole(run).name])


def find_recipe(run: Path | str, name: str | None = None) -> Path:
    """The folder of one recipe.

    Args:
        run: The run folder, or the recipe's folder itself.
        name: The recipe's name (``run.name``); may be left out where there is but one.

    Raises:
        ValueError: If there is no such folder or recipe, or several and none is named; lists their names.
    """
    run = Path(run)
    if not run.is_dir():
        raise ValueError(f"there is no run folder {run}: give the output_dir of a reduction.")
    names = recipe_names(run)
    if not names and is_recipe(run):
        if name in (None, _whole(run).name):
            return run
        raise ValueError(f"{run} is the folder of recipe {_whole(run).name!r}, not of {name!r}: leave one out.")
    if not names:
        raise ValueError(
            f"{run} holds no recipe (a folder with {CONFIG} or stages such as select/): give the output_dir of a "
            "reduction that has come as far as its clusters."
        )
    if name is None:
        if len(names) > 1:
            raise ValueError(f"{run} holds several recipes: {', '.join(names)}. Say which with --name.")
        return run / names[0]
    if name not in names:
        raise ValueError(f"{run} holds no recipe {name!r}; it holds {', '.join(names)}.")
    return run / name


def _whole(path: Path) -> Path:
    """The path from the root, "." and ".." resolved, so that it has a name and a folder above."""
    return Path(os.path.abspath(path))
