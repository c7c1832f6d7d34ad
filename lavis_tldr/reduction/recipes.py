"""The recipes of a run folder: ``RUN/NAME/``, each with its own stages; encoding and scoring they share."""

from __future__ import annotations

import os
from pathlib import Path

from .run_folder import MANIFEST

SHARED_STAGES = ("encode", "score")
RECIPE_STAGES = ("cluster", "select", "refine", "repair", "ledger", "build")
CONFIG = "config.yaml"
REPAIR_PLAN = "repaired.json"


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
