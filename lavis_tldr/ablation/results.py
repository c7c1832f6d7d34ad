"""Results on disk: a JSON file for each arm and seed, with what it was made from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lavis_tldr.files import write_whole
from lavis_tldr.runs.manifest import changes, digest_of, normalise


@dataclass(frozen=True)
class Result:
    """Of one arm and seed.

    Attributes:
        made_from: Config and settings that decide it.
        metrics: By name; empty where it failed.
        pairs: How many the reduced set has.
        ledger: Digest of its ledger.
        seconds: That reducing and scoring took.
        error: Why it failed, or "".
    """

    made_from: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    pairs: int = 0
    ledger: str = ""
    seconds: float = 0.0
    error: str = ""

    def changes_to(self, made_from: dict) -> list[str]:
        """A line for each setting that has changed since; none where nothing has."""
        return changes(self.made_from, normalise(made_from))


class ResultFolder:
    """``<folder>/<arm>-seed<seed>.json``, each written whole."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, slug: str, seed: int) -> Path:
        return self.folder / f"{slug}-seed{seed}.json"

    def load(self, slug: str, seed: int) -> Result | None:
        """The result, or None where there is none yet.

        Raises:
            ValueError: If the file is damaged.
        """
        path = self.path(slug, seed)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            content.pop("digest")
            return Result(**content)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no result ({error}): delete it, and it is made anew.") from error

    def save(self, slug: str, seed: int, result: Result) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = normalise(vars(result))
        content["digest"] = digest_of(content["made_from"])
        with write_whole(self.path(slug, seed)) as path:
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def forget(self, slug: str, seed: int) -> None:
        self.path(slug, seed).unlink(missing_ok=True)
