"""Rows of Parquet files as plain values, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

_BATCH_ROWS = 256
_BUFFER_BYTES = 2**20  # of a column read at once; with 0, or with pre_buffer, it is all that a row group has of it

# What a column holds: text as bytes, since a table may hold text that is no UTF-8; of another type, that type.
Value = bytes | int | list[bytes | None] | pa.DataType | None


def table_shape(path: str) -> tuple[list[str], int]:
    """Names of a table's columns and its number of rows.

    Raises:
        ValueError: If the file is no Parquet.
    """
    with open_table(path) as file:
        return file.schema_arrow.names, file.metadata.num_rows


def open_table(path: str) -> pq.ParquetFile:
    """A table, of which a buffer of a column is read at once.

    Raises:
        ValueError: If the file is no Parquet.
    """
    try:
        return pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} can't be read as Parquet ({' '.join(str(error).split())}). Give whole Parquet tables of images, "
            "or of image paths, and captions."
        ) from error


def iter_rows(path: str, columns: Sequence[str], start: int, stop: int) -> Iterator[tuple[int, dict[str, Value]]]:
    """``(number, {column: value})`` of the rows from ``start`` up to ``stop``.

    Raises:
        pyarrow.ArrowException, OSError: If the table is damaged.
    """
    with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
        number = 0
        for group in range(file.metadata.num_row_groups):
            num_rows = file.metadata.row_group(group).num_rows
            if start >= number + num_rows or stop <= number:
                number += num_rows
                continue
            for batch in file.iter_batches(_BATCH_ROWS, [group], list(columns), use_threads=False):
                low, high = max(start - number, 0), min(stop - number, len(batch))
                if low < high:
                    values = [_values(batch.column(name).slice(low, high - low)) for name in columns]
                    for i, row in enumerate(zip(*values, strict=True), number + low):
                        yield i, dict(zip(columns, row, strict=True))
                number += len(batch)
                if number >= stop:
                    return


def _values(column: pa.Array) -> list[Value]:
    if pa.types.is_integer(column.type):
        return column.to_pylist()
    for kind in (pa.large_binary(), pa.large_list(pa.large_binary())):
        try:
            return column.cast(kind).to_pylist()
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            continue
    return [column.type if valid else None for valid in column.is_valid().to_pylist()]
