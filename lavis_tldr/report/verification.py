"""Whether a run's files are still those that its manifests speak of."""

from __future__ import annotations

from pathlib import Path

from lavis_tldr.files import file_digest
from lavis_tldr.runs.reduced_sets import locate_run, open_stage, shared_folders
from lavis_tldr.runs.stages import OWN_STAGES


def verify_run(run: Path | str, name: str | None = None) -> dict:
    """Read every output of the finished stages again and compare it with its manifest.

    Args:
        run: The run folder, or one recipe's folder in it.
        name: Only this recipe's stages and the shared ones that it uses; else all.

    Returns:
        ``files`` and ``bytes``: how many were named by manifests; ``changed``: {file: what has changed}.

    Raises:
        ValueError: If there is no such run or recipe, or a manifest is damaged.
    """
    root, names = locate_run(run, name)
    folders = [*shared_folders(root, names).values()]
    folders += [root / recipe / stage for recipe in names for stage in OWN_STAGES]
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
