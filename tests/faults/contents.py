"""What a run folder holds that must not depend on how it came about."""

import json
from pathlib import Path

_TIMES_AND_PLACES = ("summary.json", "config.yaml")  # besides the notes


def contents_of(run: Path) -> dict:
    """All that lies in a run folder, hidden and empty things too, and what of it must not depend on its story."""

    def content(path: Path):
        if path.is_dir():
            return "a folder"
        if path.name == "manifest.json":
            return _timeless(json.loads(path.read_text()))
        if path.name in _TIMES_AND_PLACES or path.name.endswith(".note.json"):
            return "a file"
        return path.read_bytes()

    return {str(path.relative_to(run)): content(path) for path in run.rglob("*")}


def _timeless(manifest):
    if isinstance(manifest, dict):
        return {key: _timeless(value) for key, value in manifest.items() if key not in ("seconds", "rate")}
    return manifest


def differences(found: dict, expected: dict) -> list[str]:
    """The paths at which two run folders differ."""
    return sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
