"""How a run was made: what the manifests of its stages say, and whether its files are still those they speak of."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import yaml

from lavis_tldr.files import TEMPORARY_PREFIX, file_digest
from lavis_tldr.runs.reduced_sets import CONFIG, locate_run, open_stage, shared_folders, stage_folders
from lavis_tldr.runs.repairs import Repairs
from lavis_tldr.runs.stages import OWN_STAGES

SUMMARY = "summary.json"
DONE, UNFINISHED, INCOMPLETE, NOT_BEGUN = "done", "unfinished", "incomplete", "not begun"
_ONCE = ("stages", "restart")  # settings of one call, which the next one must not repeat


def inspect_run(run: Path | str, name: str | None = None) -> dict:
    """The facts of a run, as JSON can say them.

    Args:
        run: The run folder, or one reduced set's folder in it.
        name: Only this set and what it uses; else all.

    Returns:
        ``run``; ``package_versions``; ``stages``: those that reduced sets share, by "encode", "score/contrastive" and
        the like; ``sets`` by name, each with ``uses`` (names of shared stages), ``stages``, ``config`` (the path of the
        config that started it, or None), ``repairs`` (`Repairs.counts`, or None), ``summary`` (its closing figures, or
        None) and ``next`` (what to run where it is not finished, else None). A stage is a `stage_record` with
        ``changed_inputs``: stages before it that have been made anew since.

    Raises:
        ValueError: If there is no such run or set, or a manifest is damaged.
    """
    root, names = locate_run(run, name)
    parts = source_parts(stage_record(root / "encode"))
    folders = shared_folders(root, names)
    # What a shared stage is made from has no variants.
    shared = {stage: _record(folder, folders, parts) for stage, folder in folders.items()}
    sets = {name: _set_record(root / name, shared, parts) for name in names}
    stages = [*shared.values(), *(stage for its in sets.values() for stage in its["stages"].values())]
    return {
        "run": str(root),
        "package_versions": sorted({str(stage["package_version"]) for stage in stages if stage["state"] != NOT_BEGUN}),
        "stages": shared,
        "sets": sets,
    }


def _set_record(folder: Path, shared: dict[str, dict], parts: list[str]) -> dict:
    folders = stage_folders(folder)
    repairs = Repairs.load(folder)
    # Only a set that has lost images has a repair.
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


def stage_record(folder: Path, part_names: list[str] | None = None) -> dict:
    """The facts of one stage.

    Args:
        folder: The stage's.
        part_names: The source's parts, where they are known.

    Returns:
        ``state`` (one of this module's), and unless it has not begun ``package_version``, ``config``, ``inputs``,
        ``counts``, ``seconds``, ``rate`` (records a second), ``parts`` {part: counts and seconds}, ``files`` and
        ``bytes`` of the outputs, ``missing``: outputs that are gone (incomplete), or parts still to be made
        (unfinished), and ``num_parts``: how many there will be, None where that is not known.
    """
    stage = open_stage(folder)
    if stage is None:
        return {"state": NOT_BEGUN}
    manifest = stage.manifest
    # Temporary files come and go while a run is at work.
    whole = [path for path in folder.iterdir() if not path.name.startswith(TEMPORARY_PREFIX)]
    record = {
        "package_version": manifest.get("package_version"),
        "config": stage.config,
        "inputs": stage.inputs,
        "counts": manifest.get("counts", {}),
        "seconds": manifest.get("seconds"),
        "rate": manifest.get("rate"),
    }
    if manifest.get("done"):
        outputs = manifest["outputs"]
        present = {path.name for path in whole}
        missing = sorted(name for name in outputs if name not in present and not (folder / name).is_file())
        return {
            "state": INCOMPLETE if missing else DONE,
            **record,
            "parts": manifest.get("parts", {}),
            "files": len(outputs),
            "bytes": sum(output["bytes"] for output in outputs.values()),
            "missing": missing,
            "num_parts": len(manifest.get("parts", {})),
        }
    parts = {path.stem: path.stat().st_size for path in sorted(whole) if path.suffix == ".parquet"}
    if not parts:  # build's parts are lines of JSON until it has them all
        parts = {path.stem: path.stat().st_size for path in sorted(stage.scratch.glob("[!.]*.jsonl"))}
    notes = stage.notes()
    return {
        "state": UNFINISHED,
        **record,
        "parts": {name: _without_output(notes.get(name, {})) for name in parts},
        "files": len(parts),
        "bytes": sum(parts.values()),
        "missing": [name for name in part_names or [] if name not in parts],
        "num_parts": len(part_names) if part_names else None,
    }


def _without_output(note: dict) -> dict:
    """A part's counts and seconds; its file's size and digest are in the outputs once the stage is done."""
    return {name: value for name, value in note.items() if name not in ("bytes", "digest")}


def source_parts(encode: dict) -> list[str]:
    """Names of the source's parts, from the record of the stage that reads them."""
    named = [name.removeprefix("part ") for name in encode.get("inputs", {}) if name.startswith("part ")]
    return sorted(named or encode.get("parts", {}))


def changed_inputs(folder: Path, record: dict, stage_folders: dict[str, Path]) -> list[str]:
    """The stages before this one whose files are no longer those that it was made from."""
    changed = []
    for name, digest in record.get("inputs", {}).items():
        before = open_stage(stage_folders[name]) if name in stage_folders and stage_folders[name] != folder else None
        try:
            if before is not None and before.is_done() and before.digest != digest:
                changed.append(name)
        except ValueError:  # a file of it has changed in size
            changed.append(name)
    return changed


def resume_command(config: Path) -> str:
    """What to run.

    Args:
        config: The config that the reduction has left in its folder; it may be missing.
    """
    if not config.is_file():
        return "lavis-tldr reduce --cfg-path CONFIG (the one of before)"
    command = f"lavis-tldr reduce --cfg-path {shlex.quote(str(config))}"
    try:
        run = (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("run") or {}
    except (yaml.YAMLError, AttributeError):
        return command  # reading it will say what is wrong
    undone = [shlex.quote(f"run.{name}=[]") for name in _ONCE if run.get(name)]
    return f"{command} --options {' '.join(undone)}" if undone else command


def verify_run(run: Path | str, name: str | None = None) -> dict:
    """Read every output of the finished stages again and compare it with its manifest.

    Args:
        run: The run folder, or one reduced set's folder in it.
        name: Only this set's stages and the shared ones that it uses; else all.

    Returns:
        ``files`` and ``bytes``: how many were named by manifests; ``changed``: {file: what has changed}.

    Raises:
        ValueError: If there is no such run or set, or a manifest is damaged.
    """
    root, names = locate_run(run, name)
    folders = [*shared_folders(root, names).values()]
    folders += [root / name / stage for name in names for stage in OWN_STAGES]
    checked = {"files": 0, "bytes": 0, "changed": {}}
    for folder in folders:
        stage = open_stage(folder)
        if stage is None or not stage.manifest["done"]:
            continue
        for file_name, output in stage.manifest["outputs"].items():
            checked["files"] += 1
            checked["bytes"] += output["bytes"]
            if change := _change(folder / file_name, output):
                checked["changed"][str(folder / file_name)] = change
    return checked


def _change(path: Path, output: dict) -> str:
    if not path.is_file():
        return "is gone"
    if (found := path.stat().st_size) != output["bytes"]:
        return f"has {found:,} bytes, had {output['bytes']:,}"
    return "" if file_digest(path) == output["digest"] else "has the same size but another content"
