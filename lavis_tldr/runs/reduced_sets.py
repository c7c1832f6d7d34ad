"""The recipes of a run folder: ``RUN/NAME/``, each with its own stages, and the stages that they share.

A shared stage that recipes may want otherwise than each other has a folder for each variant, named by what tells them
apart: ``RUN/score/contrastive/``, ``RUN/cluster/embedding-300-seed42/``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lavis_tldr.files import write_whole

from lavis_tldr.runs.stage_folder import MANIFEST, Stage

SHARED_STAGES = ("encode", "caption", "score", "gradient", "cluster")
VARIED_STAGES = ("score", "cluster")
OWN_STAGES = ("select", "refine", "repair", "ledger", "build")
CONFIG, VARIANTS = "config.yaml", "variants.json"
REPAIR_PLAN = "repaired.json"


def shared_folders(run: Path | str, recipes: Sequence[str]) -> dict[str, Path]:
    """Folders of shared stages, in order, by "encode", "score/contrastive" and the like.

    Args:
        run: The run folder.
        recipes: Those that use them, begun or not. If these are all of the run, whatever else has begun is there too.

    Raises:
        ValueError: If a recipe's note of what it uses is damaged or missing.
    """
    run = Path(run)
    found = {run / SHARED_STAGES[0]}
    for recipe in recipes:
        found.update(folder for stage, folder in stage_folders(run / recipe).items() if stage in SHARED_STAGES)
    if list(recipes) == set_names(run):
        for stage in SHARED_STAGES:
            manifests = (run / stage).glob(f"*/{MANIFEST}" if stage in VARIED_STAGES else MANIFEST)
            found.update(path.parent for path in manifests)
    paths = sorted(folder.relative_to(run) for folder in found)
    return {path.as_posix(): run / path for path in sorted(paths, key=lambda path: SHARED_STAGES.index(path.parts[0]))}


def stage_folders(recipe: Path | str) -> dict[str, Path]:
    """The folder of every stage that a recipe uses, begun or not, by the stage's name.

    Raises:
        ValueError: If its note of the shared stages is damaged, or it has begun and lacks one.
    """
    recipe = Path(recipe)
    noted = noted_variants(recipe)
    if noted is None:
        raise ValueError(
            f"{recipe} lacks {VARIANTS}, which says what it was made from: run `lavis-tldr reduce` with its config "
            "once more, which writes it and does nothing over again."
        )
    run = _whole(recipe).parent if recipe.name in ("", "..") else recipe.parent
    shared = {SHARED_STAGES[0]: "", **noted}
    found = {stage: run / stage / shared[stage] for stage in SHARED_STAGES if stage in shared}
    return {**found, **{stage: recipe / stage for stage in OWN_STAGES}}


def note_variants(recipe: Path, variants: Mapping[str, str]) -> None:
    """Remember which shared stages a recipe uses, and which variant of each ("" where it has none)."""
    with write_whole(recipe / VARIANTS) as path:
        path.write_text(json.dumps(dict(variants), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def noted_variants(recipe: Path) -> dict[str, str] | None:
    """What `note_variants` has noted; None if there is no note.

    Raises:
        ValueError: If it is damaged.
    """
    path = recipe / VARIANTS
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        noted = error
    if isinstance(noted, dict) and "cluster" in noted and all(isinstance(variant, str) for variant in noted.values()):
        return noted
    raise ValueError(
        f"{path} should name the shared stages that the recipe uses; found {noted!r}. Run `lavis-tldr reduce` with its "
        "config once more, which writes it anew and does nothing over again."
    )


def stage_name(folder: Path) -> str:
    """Name of the stage in a folder, which may be that of a variant."""
    return folder.parent.name if folder.parent.name in VARIED_STAGES else folder.name


def open_stage(folder: Path) -> Stage | None:
    """The stage in ``folder`` by its own manifest, or None where it has not begun.

    Raises:
        ValueError: If its manifest is none.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        stage = stage_name(folder)
        made = manifest["config"], manifest["inputs"]
        if stage == folder.name:
            return Stage(folder.parent, stage, *made)
        return Stage(folder.parent.parent, stage, *made, variant=folder.name)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no manifest ({type(error).__name__}: {error}). Restore it, or make the stage anew with "
            f"`--restart {stage_name(folder)}`."
        ) from error


def check_layout(run: Path | str) -> None:
    """Refuse a run folder that has no variants yet, as earlier versions laid it out.

    Raises:
        ValueError: If it is one; says what to do.
    """
    run = Path(run)
    old = [run / stage for stage in VARIED_STAGES if (run / stage / MANIFEST).is_file()]
    old += sorted(path.parent for path in run.glob(f"*/cluster/{MANIFEST}"))
    if old:
        raise ValueError(
            f"{run} was made by an earlier version, which laid it out otherwise ({', '.join(map(str, old))}): use a "
            "new run folder. Or delete these folders and run `lavis-tldr reduce` with `--restart select` for each of "
            "its recipes; where it says that encode was made otherwise, once with `--restart encode`."
        )


def is_set(folder: Path | str) -> bool:
    """Whether the folder is one recipe's: it has the config that started it, or a stage of it."""
    folder = Path(folder)
    return (folder / CONFIG).is_file() or any((folder / stage / MANIFEST).is_file() for stage in OWN_STAGES)


def set_names(run: Path | str) -> list[str]:
    """Names of the recipes in a run folder, sorted."""
    run = Path(run)
    if not run.is_dir():
        return []
    return sorted(path.name for path in run.iterdir() if path.name not in SHARED_STAGES and is_set(path))


def locate_run(run: Path | str, name: str | None = None) -> tuple[Path, list[str]]:
    """The run folder and names of its recipes: all of them (there may be none yet), or the one that is named.

    Args:
        run: The run folder, or one recipe's folder in it.
        name: Of one recipe.

    Raises:
        ValueError: If there is no such folder or recipe, or an earlier version made it.
    """
    run = Path(run)
    names = set_names(run)
    if name is None and (names or (run / SHARED_STAGES[0] / MANIFEST).is_file()):
        check_layout(run)
        return run, names
    recipe = find_set(run, name)
    root, name = (run, recipe.name) if recipe != run else (_whole(run).parent, _whole(run).name)
    check_layout(root)
    return root, [name]


def find_set(run: Path | str, name: str | None = None) -> Path:
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
    names = set_names(run)
    if not names and is_set(run):
        if name in (None, _whole(run).name):
            return run
        raise ValueError(f"{run} is the folder of recipe {_whole(run).name!r}, not of {name!r}: leave one out.")
    if not names:
        raise ValueError(
            f"{run} holds no recipe (a folder with {CONFIG} or stages such as select/): give the output_dir of a "
            "reduction that has come as far as its selection."
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
