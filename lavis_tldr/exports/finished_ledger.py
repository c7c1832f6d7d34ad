"""The ledger of a finished reduction, as exports go through it: part by part."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lavis_tldr.exports.pairs import COLUMNS, FURTHER, LostImages, kept_pairs
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
        further: Columns of ``pairs.FURTHER`` that go out with the pairs.
    """

    path: Path
    num_read: int
    num_kept: int
    copies: Path
    further: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.stem

    def kept_pairs(self, caption: str) -> pa.Table:
        """As :func:`lavis_tldr.exports.pairs.kept_pairs`, with the further columns."""
        return kept_pairs(pq.read_table(self.path, columns=[*COLUMNS, *self.further]), caption)


class FinishedLedger:
    """The ledger of one reduced set of a run.

    Args:
        run: The run folder, or the set's in it.
        name: The set, where the run has several.

    Raises:
        ValueError: If there is no such ledger, or it is not finished.
    """

    def __init__(self, run: Path, name: str | None = None):
        self.run = run
        folder = find_set(run, name)
        paths = ledger_parts(folder)
        self.folder = paths[0].parent
        manifest = read_json(self.folder / MANIFEST)
        if manifest is not None and not manifest.get("done"):
            raise ValueError(f"the ledger in {self.folder} is not finished: run the reduction to its end, then export.")
        kept = [pq.read_table(path, columns=["kept"])["kept"] for path in paths]
        copies = Path(os.path.abspath(folder)) / "build" / "images"
        self.further = _further_told(paths)
        self.parts = [
            LedgerPart(path, len(flags), pc.sum(flags).as_py() or 0, copies / path.stem, self.further)
            for path, flags in zip(paths, kept, strict=True)
        ]
        self.num_read = sum(part.num_read for part in self.parts)
        self.num_kept = sum(part.num_kept for part in self.parts)
        # How the source was read, as the encode stage noted it.
        encode = read_json(Path(os.path.abspath(folder)).parent / SHARED_STAGES[0] / MANIFEST) or {}
        self.key_prefix = bool(encode.get("config", {}).get("source", {}).get("key_prefix"))

    def digest(self) -> str:
        """Digest of all parts' contents."""
        return digest_of({part.name: file_digest(part.path) for part in self.parts})

    def refuse_lost(self, lost: Mapping[str, LostImages]) -> None:
        """Refuse a set whose images are lost.

        Args:
            lost: By part.

        Raises:
            ValueError: If there are any; says how many, which and what to do.
        """
        lost = {name: found for name, found in lost.items() if found.count}
        if not lost:
            return
        examples = [text for found in lost.values() for text in found.first][:5]
        raise ValueError(
            f"{sum(found.count for found in lost.values())} kept images in {len(lost)} of {len(self.parts)} parts "
            "can't be read any more:\n"
            + "".join(f"  {text}\n" for text in examples)
            + "Put them back and run the same command again, which writes what is still missing; or let others step in "
            f"by `lavis-tldr repair {self.run}` (with --decode, if files are there but broken) and export to a new "
            "folder."
        )


def _further_told(paths: Sequence[Path]) -> tuple[str, ...]:
    """Which of `FURTHER` every part of a ledger has as columns, and at least one record of it as values.

    By the files' footers: what is told then depends neither on what is kept nor on the part.
    """
    told = dict.fromkeys(FURTHER, False)
    for path in paths:
        about = pq.read_metadata(path)
        columns = [about.row_group(i).column(j) for i in range(about.num_row_groups) for j in range(about.num_columns)]
        names = about.schema.names
        for name in [name for name in told if name not in names]:
            del told[name]  # a ledger made before it had them
        for column in columns:
            if column.path_in_schema in told:
                told[column.path_in_schema] |= _has_values(column)
    return tuple(name for name, is_told in told.items() if is_told)


def _has_values(column: pq.ColumnChunkMetaData) -> bool:
    counts = column.statistics
    return counts is None or not counts.has_null_count or counts.null_count < column.num_values


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
