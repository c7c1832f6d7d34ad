"""What a stage's folder says of how the stage was made."""

from __future__ import annotations

from pathlib import Path

from lavis_tldr.files import TEMPORARY_PREFIX
from lavis_tldr.runs.reduced_sets import open_stage

DONE, UNFINISHED, INCOMPLETE, NOT_BEGUN = "done", "unfinished", "incomplete", "not begun"


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
