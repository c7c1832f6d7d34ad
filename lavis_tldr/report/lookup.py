"""One sample's rows in the tables of a run's stages, found without reading more than key columns."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lavis_tldr.files import TEMPORARY_PREFIX
from lavis_tldr.runs.reduced_sets import open_stage


def parts_of(folder: Path) -> list[Path]:
    """The Parquet parts of a stage that are whole, in the order of their names."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith(TEMPORARY_PREFIX))


def row_in(folder: Path, part: str, key: str) -> dict:
    """The sample's row in a stage's table of its part; empty where it has none, or the part is not made yet."""
    path = folder / f"{part}.parquet"
    place = find_key([path], key) if path.is_file() else None
    return place.read() if place else {}


def is_done(folder: Path) -> bool:
    stage = open_stage(folder)
    return stage is not None and stage.manifest["done"]


def config_of(folder: Path) -> dict:
    """The config that a stage was made with; empty where it has not begun."""
    stage = open_stage(folder)
    return {} if stage is None else stage.config


def number_or_none(value: float | None) -> float | None:
    """``value``, None for NaN, which JSON can't say."""
    return None if value is None or math.isnan(value) else value


@dataclass(frozen=True)
class Place:
    """A row of a Parquet file."""

    path: Path
    row_group: int
    row: int

    def read(self, columns: Sequence[str] | None = None) -> dict:
        """The row, or some columns of it; columns that the file lacks are left out."""
        with open_parquet(self.path) as file:
            names = file.schema_arrow.names
            wanted = names if columns is None else [name for name in columns if name in names]
            table = file.read_row_group(self.row_group, columns=wanted)
        return table.slice(self.row, 1).to_pylist()[0]


def open_parquet(path: Path) -> pq.ParquetFile:
    """A Parquet file.

    Raises:
        ValueError: If it is none.
    """
    try:
        return pq.ParquetFile(path, memory_map=True)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{path} is no Parquet file ({error}): `lavis-tldr inspect RUN --verify` lists all files that have changed."
        ) from error


def find_key(paths: Sequence[Path], key: str) -> Place | None:
    """Where the row of ``key`` is; None if in none of the files.

    Row groups are passed over by their statistics. Where keys grow from part to part one row group is read, whatever
    the size of the set; where they don't, the key columns of all.
    """
    for place, keys in _row_groups(paths, lambda low, high: low <= key <= high):
        row = pc.index(keys, pa.scalar(key, keys.type)).as_py()
        if row >= 0:
            return Place(*place, row)
    return None


def keys_with_prefix(paths: Sequence[Path], prefix: str, limit: int) -> list[str]:
    """The first keys that start with ``prefix``, sorted, at most ``limit``."""
    found: list[str] = []
    for _, keys in _row_groups(paths, lambda low, high: low[: len(prefix)] <= prefix <= high[: len(prefix)]):
        found += keys.filter(pc.starts_with(keys, prefix)).to_pylist()
    return sorted(found)[:limit]


def closest_keys(paths: Sequence[Path], key: str, limit: int = 3) -> list[str]:
    """Keys that begin most like ``key``, best first; none where none has half of it in common."""
    start = key[: (len(key) + 1) // 2]
    found: set[str] = set()
    for _, keys in _row_groups(paths, lambda low, high: low[: len(start)] <= start <= high[: len(start)]):
        # Whatever begins most like it is the next before or after it in the order of keys.
        found.add(pc.max(keys.filter(pc.less(keys, key))).as_py())
        found.add(pc.min(keys.filter(pc.greater(keys, key))).as_py())
    alike = [other for other in found if other is not None and other.startswith(start)]
    return sorted(alike, key=lambda other: _difference(key, other))[:limit]


def _difference(key: str, other: str) -> tuple[int, int, str]:
    common = len(os.path.commonprefix([key, other]))
    return -common, abs(len(other) - len(key)), other


def _row_groups(paths: Sequence[Path], may_hold) -> Iterator[tuple[tuple[Path, int], pa.ChunkedArray]]:
    """Place and keys of each row group whose least and greatest key pass ``may_hold``."""
    for path in paths:
        with open_parquet(path) as file:
            if "key" not in file.schema.names:
                raise ValueError(f"{path} has no column key, only {file.schema.names}: it is no part of a stage.")
            leaf = file.schema.names.index("key")
            for group in range(file.num_row_groups):
                statistics = file.metadata.row_group(group).column(leaf).statistics
                known = statistics is not None and statistics.has_min_max
                if not known or may_hold(statistics.min, statistics.max):
                    yield (path, group), file.read_row_group(group, columns=["key"])["key"]
