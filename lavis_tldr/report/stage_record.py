"""What a stage's folder says of how the stage was made."""

from __future__ import annotations

import json
from pathlib import Path

from lavis_tldr.reduction.run_folder import MANIFEST, Stage

DONE, UNFINISHED, INCOMPLETE, NOT_BEGUN = "done", "unfinished", "incomplete", "not begun"


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
        return Stage(folder.parent, folder.name, manifest["config"], manifest["inputs"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no manifest ({type(error).__name__}: {error}). Restore it, or make the stage anew with "
            f"`--restart {folder.name}`."
        ) from error


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
    present = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
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
    whole = {name: size for name, size in present.items() if name.endswith(".parquet") and not name.startswith(".")}
    notes = {name: note for name, note in stage.notes().items() if f"{name}.parquet" in whole}
    known = part_names or []
    return {
        "state": UNFINISHED,
        **record,
        "parts": {Path(name).stem: notes.get(Path(name).stem, {}) for name in sorted(whole)},
        "files": len(whole),
        "bytes": sum(whole.values()),
        "missing": [name for name in known if f"{name}.parquet" not in whole],
        "num_parts": len(known) or None,
    }


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
