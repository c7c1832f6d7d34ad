"""The reduced sets of a run folder: ``RUN/NAME/``, each with stages of its own, and the stages that they share.

A shared stage that sets may want otherwise than each other has a folder for each variant, named by what tells them
apart: ``RUN/score/contrastive/``, ``RUN/cluster/embedding-300-seed42/``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lavis_tldr.files import write_whole
from lavis_tldr.runs.stage_folder import MANIFEST, Stage
from lavis_tldr.runs.stages import OWN_STAGES, SHARED_STAGES, VARIED_STAGES

CONFIG, VARIANTS = "config.yaml", "variants.json"


def shared_folders(run: Path | str, names: Sequence[str]) -> dict[str, Path]:
    """Folders of shared stages, in order, by "encode", "score/contrastive" and the like.

    Args:
        run: The run folder.
        names: Of the sets that use them, begun or not. If these are all of the run, whatever else has begun is there
            too.

    Raises:
        ValueError: If a set's note of what it uses is damaged or missing.
    """
    run = Path(run)
    found = {run / SHARED_STAGES[0]}
    for name in names:
        found.update(folder for stage, folder in stage_folders(run / name).items() if stage in SHARED_STAGES)
    if list(names) == set_names(run):
        for stage in SHARED_STAGES:
            manifests = (run / stage).glob(f"*/{MANIFEST}" if stage in VARIED_STAGES else MANIFEST)
            found.update(path.parent for path in manifests)
    paths = sorted(folder.relative_to(run) for folder in found)
    return {path.as_posix(): run / path for path in sorted(paths, key=lambda path: SHARED_STAGES.index(path.parts[0]))}


def stage_folders(folder: Path | str) -> dict[str, Path]:
    """The folder of every stage that a set uses, begun or not, by the stage's name.

    Raises:
        ValueError: If its note of the shared stages is damaged, or it has begun and lacks one.
    """
    folder = Path(folder)
    noted = noted_variants(folder)
    if noted is None:
        raise ValueError(
            f"{folder} lacks {VARIANTS}, which says what it was made from: run `lavis-tldr reduce` with its config "
            "once more, which writes it and does nothing over again."
        )
    run = _whole(folder).parent if folder.name in ("", "..") else folder.parent
    shared = {SHARED_STAGES[0]: "", **noted}
    found = {stage: run / stage / shared[stage] for stage in SHARED_STAGES if stage in shared}
    return {**found, **{stage: folder / stage for stage in OWN_STAGES}}


def note_variants(folder: Path, variants: Mapping[str, str]) -> None:
    """Remember which shared stages a set uses, and which variant of each ("" where it has none)."""
    with write_whole(folder / VARIANTS) as path:
        path.write_text(json.dumps(dict(variants), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def noted_variants(folder: Path) -> dict[str, str] | None:
    """What `note_variants` has noted; None if there is no note.

    Raises:
        ValueError: If it is damaged.
    """
    path = folder / VARIANTS
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        noted = error
    if isinstance(noted, dict) and "cluster" in noted and all(isinstance(variant, str) for variant in noted.values()):
        return noted
    raise ValueError(
        f"{path} should name the shared stages that the set uses; found {noted!r}. Run `lavis-tldr reduce` with its "
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


def is_set(folder: Path | str) -> bool:
    """Whether the folder is one set's: it has the config that started it, or a stage of it."""
    folder = Path(folder)
    return (folder / CONFIG).is_file() or any((folder / stage / MANIFEST).is_file() for stage in OWN_STAGES)


def set_names(run: Path | str) -> list[str]:
    """Names of the sets in a run folder, sorted."""
    run = Path(run)
    if not run.is_dir():
        return []
    return sorted(path.name for path in run.iterdir() if path.name not in SHARED_STAGES and is_set(path))


def locate_run(run: Path | str, name: str | None = None) -> tuple[Path, list[str]]:
    """The run folder and names of its sets: all of them (there may be none yet), or the one that is named.

    Args:
        run: The run folder, or one set's folder in it.
        name: Of one set.

    Raises:
        ValueError: If there is no such folder or set.
    """
    run = Path(run)
    names = set_names(run)
    if name is None and (names or (run / SHARED_STAGES[0] / MANIFEST).is_file()):
        return run, names
    found = find_set(run, name)
    root, name = (run, found.name) if found != run else (_whole(run).parent, _whole(run).name)
    return root, [name]


def find_set(run: Path | str, name: str | None = None) -> Path:
    """The folder of one set.

    Args:
        run: The run folder, or the set's folder itself.
        name: The set's name (``run.name``); may be left out where there is but one.

    Raises:
        ValueError: If there is no such folder or set, or several and none is named; lists their names.
    """
    run = Path(run)
    if not run.is_dir():
        raise ValueError(f"there is no run folder {run}: give the output_dir of a reduction.")
    names = set_names(run)
    if not names and is_set(run):
        if name in (None, _whole(run).name):
            return run
        raise ValueError(f"{run} is the folder of reduced set {_whole(run).name!r}, not of {name!r}: leave one out.")
    if not names:
        raise ValueError(
            f"{run} holds no reduced set (a folder with {CONFIG} or stages such as select/): give the output_dir of a "
            "reduction that has come as far as its selection."
        )
    if name is None:
        if len(names) > 1:
            raise ValueError(f"{run} holds several reduced sets: {', '.join(names)}. Say which with --name.")
        return run / names[0]
    if name not in names:
        raise ValueError(f"{run} holds no reduced set {name!r}; it holds {', '.join(names)}.")
    return run / name


def _whole(path: Path) -> Path:
    """The path from the root, "." and ".." resolved, so that it has a name and a folder above."""
    return Path(os.path.abspath(path))
