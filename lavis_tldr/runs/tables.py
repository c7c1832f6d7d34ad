"""Tables joined by key: loudly, since a row's position is never its identity."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def check_keys(keys: pa.ChunkedArray, name: str) -> None:
    """A ValueError that names the first missing (null) or doubled key of ``name``."""
    if keys.null_count:
        row = keys.is_null().to_pylist().index(True)
        raise ValueError(f"{name} has no key in row {row}: every record needs one.")
    if len(keys.unique()) < len(keys):
        seen: dict[str, int] = {}
        for row, key in enumerate(keys.to_pylist()):
            if key in seen:
                raise ValueError(f"{name} has key {key!r} twice (rows {seen[key]} and {row}): keys must be unique.")
            seen[key] = row


def join_by_key(
    left: pa.Table,
    right: pa.Table,
    *,
    left_name: str = "left table",
    right_name: str = "right table",
    partial: bool = False,
) -> pa.Table:
    """``left`` with the columns of ``right``, rows matched by their ``key``, in left's order.

    Args:
        left: With a column ``key``.
        right: With a column ``key``; it shares no other column with ``left``.
        left_name: How the error calls it: a path, if there is one.
        right_name: Likewise.
        partial: Allow keys of ``left`` that ``right`` lacks; they get nulls.

    Raises:
        ValueError: If a key is null or doubled in either, if ``right`` has a key that ``left`` lacks, or
            ``left`` one that ``right`` lacks (unless ``partial``); it names the first.
    """
    shared = [name for name in right.column_names if name in left.column_names and name != "key"]
    if shared:
        raise ValueError(f"{left_name} and {right_name} both have {shared}; drop or rename them in one of the two.")
    rows = pc.index_in(left["key"], value_set=right["key"].cast(left["key"].type))
    if not _one_to_one(left["key"], right["key"], rows, partial):
        check_keys(left["key"], left_name)
        check_keys(right["key"], right_name)
        _refuse_absent(right, left, right_name, left_name)
        if not partial:
            _refuse_absent(left, right, left_name, right_name)
    for name in right.column_names:
        if name != "key":
            left = left.append_column(right.schema.field(name), right[name].take(rows))
    return left


def _one_to_one(left: pa.ChunkedArray, right: pa.ChunkedArray, rows: pa.ChunkedArray, partial: bool) -> bool:
    """Whether the keys keep what :func:`join_by_key` asks, told from where ``left``'s are in ``right``.

    A key is found in one row, however often it is there. So if as many keys of ``left`` are found as ``right`` has
    rows, in as many different ones, none of these is doubled in either and none of ``right``'s is absent from ``left``.
    """
    if left.null_count or right.null_count or (rows.null_count and not partial):
        return False
    found = rows.drop_null().to_numpy()
    if len(found) != len(right) or np.count_nonzero(np.bincount(found, minlength=len(right))) != len(right):
        return False
    elsewhere = left.filter(rows.is_null()) if rows.null_count else []
    return not len(elsewhere) or len(elsewhere.unique()) == len(elsewhere)


def _refuse_absent(holder: pa.Table, lacker: pa.Table, holder_name: str, lacker_name: str) -> None:
    held = holder["key"]
    absent = held.filter(pc.invert(pc.is_in(held, value_set=lacker["key"].cast(held.type))))
    if len(absent):
        raise ValueError(
            f"{holder_name} has {len(absent)} keys absent from {lacker_name} (first: {absent[0].as_py()!r}). "
            "Both must come from one run: restart the later stage, or use the files of one run folder."
        )
