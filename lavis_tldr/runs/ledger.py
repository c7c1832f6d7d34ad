"""The ledger: one row a record of the source, with all that became of it.

A Parquet file for each part of the source, its rows identified by key and sorted by it. Every record has exactly one
ending, told by ``reason``: "kept", "dropped: WHY" or "failed: ERROR".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lavis_tldr.files import TEMPORARY_PREFIX
from lavis_tldr.reduction.words import count_words
from lavis_tldr.runs.outcomes import DROPPED, FAILED, KEPT, reasons
from lavis_tldr.runs.parts import missing_columns, read_part
from lavis_tldr.runs.stages import REPEATS, STAGES
from lavis_tldr.runs.tables import check_keys, join_by_key

_SPEC = STAGES["ledger"]
SCHEMA = _SPEC.schema
# Columns that only some runs' ledgers have, by their settings.
_OPTIONAL = {column.name for column in _SPEC.columns if column.is_optional}
# What the ledger has of a record as encode has it.
RECORD_COLUMNS = [name for name in STAGES["encode"].column_names if name in _SPEC.column_names]
# What a record that was not selected, or not kept, has in the columns of those stages.
_FILL = {column.name: column.fill for name in ("select", "refine") for column in STAGES[name].columns[1:]}


def ledger_of(
    part: str,
    records: pa.Table,
    selection: pa.Table,
    refined: pa.Table,
    *,
    criterion: str,
    prefilter: str = "",
    min_words: int = 0,
    replaced: Mapping[str, str] | None = None,
) -> pa.Table:
    """The ledger of one part of the source.

    Args:
        part: Its name.
        records: All its records: `RECORD_COLUMNS`.
        selection: The usable ones: columns of the stage select.
        refined: The kept ones: columns of the stage refine.
        criterion: By what samples were selected (``criteria.SELECTIONS``).
        prefilter: By what they were filtered before, or "".
        min_words: Fewest words of an original caption; those with fewer were filtered, too.
        replaced: Keys of kept samples whose image is lost, each with the key of its stand-in, or "" where there is none
            (`understudy.apply`); ``selection`` has them applied.

    Returns:
        Columns of ``SCHEMA``; those of some runs alone where ``selection`` has them.

    Raises:
        ValueError: If the tables disagree on the keys.
    """
    table = records.append_column("part", pa.array([part] * records.num_rows, pa.string()))
    table = join_by_key(table, selection, left_name="encode", right_name="selection", partial=True)
    table = join_by_key(table, refined, left_name="encode", right_name="refine", partial=True)
    for name, fill in _FILL.items():
        if name not in table.column_names:  # not of this run
            continue
        table = table.set_column(table.column_names.index(name), name, table[name].fill_null(fill))
    why = reasons(
        table["error"],
        table["kept"].to_numpy(),
        duplicate_of=table["duplicate_of"],
        score=table["score"].to_numpy(),
        filtered=table["filtered"].to_numpy(),
        is_short=count_words(table["caption_original"]) < min_words if min_words else None,
        capped=table["capped"] if "capped" in table.column_names else None,
        selection=criterion,
        prefilter=prefilter,
        keys=table["key"],
        replaced=replaced,
    )
    table = table.append_column("reason", why)
    return table.select([name for name in SCHEMA.names if name in table.column_names])


def write_ledger(table: pa.Table, path: Path | str) -> None:
    """Check a part's table, sort it by key and write it as Parquet; the same rows give the same bytes.

    Raises:
        ValueError: If columns are missing or unknown, or for what ``check_ledger`` finds.
    """
    missing = [name for name in SCHEMA.names if name not in (*table.column_names, *_OPTIONAL)]
    unknown = [name for name in table.column_names if name not in SCHEMA.names]
    if missing or unknown:
        raise ValueError(f"a ledger has the columns {SCHEMA.names}; missing here: {missing}, unknown: {unknown}.")
    schema = pa.schema([field for field in SCHEMA if field.name in table.column_names])
    table = table.select(schema.names).cast(schema).sort_by("key").combine_chunks()
    check_ledger(table)
    pq.write_table(table, path, compression="zstd")


def ledger_parts(path: Path | str) -> list[Path]:
    """The ledger's files, in order of name.

    Args:
        path: The ledger's folder, the folder of the reduced set that it is in, or one of its files.

    Raises:
        ValueError: If there is no ledger, or a file is none.
    """
    path = Path(path)
    folder = path / "ledger" if (path / "ledger").is_dir() else path
    found = [path] if path.is_file() else sorted(folder.glob("*.parquet"))
    parts = [part for part in found if not part.name.startswith(TEMPORARY_PREFIX)]
    if not parts:
        raise ValueError(
            f"there is no ledger at {path}: name the folder RUN/NAME of a reduction that has come to its end, or its "
            "folder ledger/."
        )
    for part in parts:
        _check_file(part)
    return parts


def iter_ledger(
    path: Path | str, columns: Sequence[str] | None = None, *, only_kept: bool = False
) -> Iterator[pa.Table]:
    """The ledger, or some columns of it, a part at a time.

    Args:
        path: As ``ledger_parts`` takes it.
        columns: All of them if None.
        only_kept: Leave out what was dropped or failed.

    Raises:
        ValueError: As ``ledger_parts``.
    """
    for part in ledger_parts(path):
        yield read_part(part, _SPEC, columns, pc.field("kept") if only_kept else None)


def read_ledger(path: Path | str, columns: Sequence[str] | None = None) -> pa.Table:
    """All parts of the ledger in one table, which takes memory: ``iter_ledger`` does not.

    Raises:
        ValueError: As ``ledger_parts``.
    """
    return pa.concat_tables(iter_ledger(path, columns))


def _check_file(path: Path) -> None:
    try:
        missing = missing_columns(path, _SPEC)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file ({error}): restart the stage that writes it.") from error
    if missing:
        raise ValueError(f"{path} is no ledger of this version: it lacks the columns {missing}. Run again from select.")


def check_ledger(table: pa.Table, num_read: int | None = None) -> None:
    """Refuse a ledger that loses or doubles a record, or that says two things of one.

    Args:
        table: With the columns of ``SCHEMA``, those of some runs alone or not.
        num_read: How many records the source gave.

    Raises:
        ValueError: If a key is missing or doubled; if kept + dropped + failed is not the number read; or if
            kept, error, cluster and reason, or caption and its origin, disagree.
    """
    check_keys(table["key"], "the ledger")
    if num_read is not None and table.num_rows != num_read:
        raise ValueError(f"{num_read} records were read but the ledger has {table.num_rows} rows: encode again.")
    reason, error = table["reason"], table["error"]
    is_kept, is_failed = pc.starts_with(reason, KEPT), pc.starts_with(reason, FAILED)
    is_dropped = pc.starts_with(reason, DROPPED)
    has_caption = pc.not_equal(table["caption"], "")
    for wrong, what in (
        (
            pc.invert(pc.or_(pc.or_(is_kept, is_dropped), is_failed)),
            "a reason that is not kept, dropped or failed",
        ),
        (pc.not_equal(is_kept, table["kept"]), "a reason that disagrees with its kept flag"),
        (pc.not_equal(is_failed, pc.not_equal(error, "")), "a reason that disagrees with its error"),
        (pc.and_(is_failed, pc.greater_equal(table["cluster"], 0)), "an error and yet a cluster"),
        *(
            [(pc.not_equal(table["kept"], pc.greater(table[REPEATS], 0)), "repeats that disagree with its kept flag")]
            if REPEATS in table.column_names
            else []
        ),
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
