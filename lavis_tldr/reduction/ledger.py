"""The ledger: one row a record of the source, with all that became of it.

Rows are identified by key and sorted by it. Every record has exactly one ending, told by ``reason``:
"kept", "dropped: WHY" or "failed: ERROR".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .outcome import FAILED, KEPT, LOW_ALIGNMENT, NEAR_DUPLICATE, NOT_DRAWN, reasons, summarise
from .tables import check_keys, join_by_key

__all__ = [
    "FAILED",
    "KEPT",
    "LOW_ALIGNMENT",
    "NEAR_DUPLICATE",
    "NOT_DRAWN",
    "SCHEMA",
    "check_ledger",
    "join_by_key",
    "read_ledger",
    "reasons",
    "summarise",
    "write_ledger",
]

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image_key", pa.string()),
        ("part", pa.string()),
        ("caption_original", pa.string()),
        ("error", pa.string()),  # "" where usable
        ("cluster", pa.int32()),  # -1 where in none
        ("distance", pa.float32()),  # squared L2 to the centroid; NaN where in no cluster
        ("alignment", pa.float32()),  # NaN where not scored
        ("kept", pa.bool_()),
        ("reason", pa.string()),
        ("caption_generated", pa.string()),
        ("caption", pa.string()),
        ("caption_from", pa.string()),  # "original", "generated", "original_generated" or ""
        ("image_path", pa.string()),
        ("image_offset", pa.int64()),  # -1: the whole file
        ("image_size", pa.int64()),
    ]
)


def write_ledger(table: pa.Table, path: Path | str) -> None:
    """Check the table, sort it by key and write it as Parquet; the same rows give the same bytes.

    Raises:
        ValueError: If columns are missing or unknown, or for what ``check_ledger`` finds.
    """
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in SCHEMA.names]
    if missing or unknown:
        raise ValueError(f"a ledger has the columns {SCHEMA.names}; missing here: {missing}, unknown: {unknown}.")
    table = table.select(SCHEMA.names).cast(SCHEMA).sort_by("key").combine_chunks()
    check_ledger(table)
    pq.write_table(table, path, compression="zstd")


def read_ledger(path: Path | str, columns: Sequence[str] | None = None) -> pa.Table:
    """The ledger, or some columns of it, sorted by key.

    Raises:
        ValueError: If there is no such file, or if it is no ledger.
    """
    if not Path(path).is_file():
        raise ValueError(f"there is no ledger at {path}: run the select stage first, or name the run's folder.")
    try:
        found = pq.read_schema(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file ({error}): restart the stage that writes it.") from error
    missing = [name for name in SCHEMA.names if name not in found.names]
    if missing:
        raise ValueError(f"{path} is no ledger of this version: it lacks the columns {missing}. Run again from select.")
    return pq.read_table(path, columns=None if columns is None else list(columns))


def check_ledger(table: pa.Table, num_read: int | None = None) -> None:
    """Refuse a ledger that loses or doubles a record, or that says two things of one.

    Args:
        table: With the columns of ``SCHEMA``.
        num_read: How many records the source gave.

    Raises:
        ValueError: If a key is missing or doubled; if kept + dropped + failed is not the number read; or if
            kept, error, cluster and reason, or caption and its origin, disagree.
    """
    check_keys(table["key"], "the ledger")
    if num_read is not None and table.num_rows != num_read:
        raise ValueError(f"{num_read} records were read but the ledger has {table.num_rows} rows: encode again.")
    reason, error = table["reason"], table["error"]
    is_kept, is_failed = pc.equal(reason, KEPT), pc.starts_with(reason, FAILED)
    is_dropped = pc.starts_with(reason, "dropped: ")
    has_caption = pc.not_equal(table["caption"], "")
    for wrong, what in (
        (
            pc.invert(pc.or_(pc.or_(is_kept, is_dropped), is_failed)),
            "a reason that is not kept, dropped or failed",
        ),
        (pc.not_equal(is_kept, table["kept"]), "a reason that disagrees with its kept flag"),
        (pc.not_equal(is_failed, pc.not_equal(error, "")), "a reason that disagrees with its error"),
        (pc.and_(is_failed, pc.greater_equal(table["cluster"], 0)), "an error and yet a cluster"),
        (
            pc.not_equal(has_caption, pc.not_equal(table["caption_from"], "")),
            "a caption without origin, or none",
        ),
    ):
        rows = np.flatnonzero(pc.fill_null(wrong, True).to_numpy())
        if len(rows):
            row = table.slice(int(rows[0]), 1).to_pylist()[0]
            told = {name: row[name] for name in ("kept", "reason", "error", "cluster", "caption", "caption_from")}
            raise ValueError(
                f"{len(rows)} ledger rows have {what} (first: key {row['key']!r}, {told}). "
                "Restart the stage that wrote the ledger."
            )
