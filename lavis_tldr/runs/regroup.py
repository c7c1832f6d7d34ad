"""Tables turned over on disk: written by source part, read by cluster, and back, in bounded memory.

A file holds a table cut in bins, one record batch each, so that one bin of it is read alone. Files by part with a bin
for each group of clusters give, read across, all samples of a group; files by group with a bin for each part lead back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa


def plan_groups(cluster_sizes: np.ndarray, max_rows: int) -> np.ndarray:
    """Clusters in groups of neighbours that hold at most ``max_rows`` samples (more only where one cluster does).

    Args:
        cluster_sizes: (C,).
        max_rows: Samples held in memory at once.

    Returns:
        Group of each cluster, (C,), int64, ascending from 0.
    """
    groups = np.empty(len(cluster_sizes), np.int64)
    group = rows = 0
    for cluster, size in enumerate(cluster_sizes.tolist()):
        if rows and rows + size > max_rows:
            group, rows = group + 1, 0
        groups[cluster] = group
        rows += size
    return groups


def write_bins(table: pa.Table, bins: np.ndarray, num_bins: int, path: Path) -> None:
    """Write a table cut in bins, its rows in order within each.

    Args:
        table: N rows.
        bins: Bin of each row, (N,), integers in [0, num_bins).
        num_bins: How many; any may be empty.
        path: An Arrow file.
    """
    order = np.argsort(bins, kind="stable")
    ends = np.append(0, np.cumsum(np.bincount(bins, minlength=num_bins)))
    table = table.take(order).combine_chunks()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        for start, stop in zip(ends[:-1], ends[1:], strict=True):
            writer.write_batch(_batch(table.slice(start, stop - start)))


def read_bin(paths: Iterable[Path], number: int, columns: Sequence[str] | None = None) -> pa.Table:
    """One bin of several files, in the order of the files; columns that are not asked for are not read."""
    return pa.concat_tables(_read(path, columns, [number]) for path in paths)


def read_bins(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """All bins of a file, in order."""
    return _read(path, columns, None)


def _read(path: Path, columns: Sequence[str] | None, numbers: Iterable[int] | None) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        schema = pa.ipc.open_file(file).schema
        wanted = None if columns is None else [schema.get_field_index(name) for name in columns]
        reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=wanted))
        numbers = range(reader.num_record_batches) if numbers is None else numbers
        table = pa.Table.from_batches([reader.get_batch(number) for number in numbers])
    return table if columns is None else table.select(columns)


def _batch(table: pa.Table) -> pa.RecordBatch:
    """A table of one chunk as one batch, empty or not."""
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
