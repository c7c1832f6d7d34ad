"""Parts of a stage: one Parquet file a part of the source, its columns as the table of stages has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lavis_tldr.runs.stages import StageSpec


def read_part(
    path: Path | str, spec: StageSpec, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
) -> pa.Table:
    """Columns of a part.

    Args:
        path: The file.
        spec: Of its stage.
        columns: Their names; all that the stage may have if None, but for those that are some runs' alone and this one
            has not.
        filters: Which rows to read; all if None.

    Returns:
        The columns in the order asked for; one that an earlier version did not write yet is null.
    """
    names = spec.column_names if columns is None else list(columns)
    added_since = {column.name: column.type for column in spec.columns if column.since}
    if not added_since.keys() & set(names):
        return pq.read_table(path, columns=names, filters=filters)
    there = set(pq.read_schema(path).names)
    if columns is None:
        optional = {column.name for column in spec.columns if column.is_optional}
        names = [name for name in names if name in there or name not in optional]
    table = pq.read_table(path, columns=[name for name in names if name in there], filters=filters)
    for name in names:
        if name in added_since and name not in there:
            table = table.append_column(name, pa.nulls(table.num_rows, added_since[name]))
    return table.select(names)


def missing_columns(path: Path | str, spec: StageSpec) -> list[str]:
    """Columns that a file lacks though every version has written them."""
    there = pq.read_schema(path).names
    return [column.name for column in spec.columns if column.name not in there and not column.since]
