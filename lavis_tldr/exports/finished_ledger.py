"""The ledger of a finished reduction, as exports go through it: part by part."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lavis_tldr.exports.pairs import COLUMNS, kept_pairs
from lavis_tldr.files import file_digest
from lavis_tldr.runs.ledger import ledger_parts
from lavis_tldr.runs.manifest import digest_of
from lavis_tldr.runs.reduced_sets import find_set
from lavis_tldr.runs.stage_folder import MANIFEST
from lavis_tldr.runs.stages import SHARED_STAGES


@dataclass(frozen=True)
class LedgerPart:
    """One file of a ledger.

    Args:
        path: The file.
        num_read: How many records it has.
        num_kept: How many of them are kept.
        copies: Where the reduction has copied their images to, if it has.
    """

    path: Path
    num_read: int
    num_kept: int
    copies: Path

    @property
    def name(self) -> str:
        return self.path.stem

    def kept_pairs(self, caption: str) -> pa.Table:
        """As :func:`lavis_tldr.exports.pairs.kept_pairs`."""
        return kept_pairs(pq.read_table(self.path, columns=list(COLUMNS)), caption)


class FinishedLedger:
    """The ledger of one recipe of a run.

    Args:
        run: The run folder, or the recipe's in it.
        name: The recipe, where the run has several.

    Raises:
        ValueError: If there is no such ledger, or it is not finished.
    """

    def __init__(self, run: Path, name: str | None = None):
        self.run = run
        recipe = find_set(run, name)
        paths = ledger_parts(recipe)
        self.folder = paths[0].parent
        manifest = read_json(self.folder / MANIFEST)
        if manifest is not None and not manifest.get("done"):
            raise ValueError(f"the ledger in {self.folder} is not finished: run the reduction to its end, then export.")
        kept = [pq.read_table(path, columns=["kept"])["kept"] for path in paths]
        copies = Path(os.path.abspath(recipe)) / "build" / "images"
        self.parts = [
            LedgerPart(path, len(flags), pc.sum(flags).as_py() or 0, copies / path.stem)
            for path, flags in zip(paths, kept, strict=True)
        ]
        self.num_read = sum(part.num_read for part in self.parts)
        self.num_kept = sum(part.num_kept for part in self.parts)
        # How the source was read, as the encode stage noted it.
        encode = read_json(Path(os.path.abspath(recipe)).parent / SHARED_STAGES[0] / MANIFEST) or {}
        self.key_prefix = bool(encode.get("config", {}).get("source", {}).get("key_prefix"))

    def digest(self) -> str:
        """Digest of all parts' contents."""
        return digest_of({part.name: file_digest(part.path) for part in self.parts})


def read_json(path: Path) -> dict | None:
    """A JSON file's content, None if there is no such file.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): it was damaged. Restore it, or delete its folder.") from error
