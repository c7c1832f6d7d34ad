"""Codes and features in Parquet parts: how they lie there, and what a whole set's codes add up to.

Shapes: N usable records, L codes an image, K codes in the codebook.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lavis_tldr.reduction.representation import document_frequency

_COUNTS, _FREQUENCY, _USABLE = b"code_counts", b"document_frequency", b"num_usable"


def list_column(rows: np.ndarray, usable: Sequence[bool]) -> pa.ListArray:
    """Rows (N, W) of the usable records as a column of lists over all records, null for the others.

    Not lists of fixed size: Parquet readers refuse those with nulls.
    """
    usable = np.asarray(usable, dtype=bool)
    ends = np.append(0, np.cumsum(usable)) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(rows.ravel()), mask=pa.array(~usable))


def rows_of(column: pa.ChunkedArray, width: int, dtype: type) -> np.ndarray:
    """The rows of a ``list_column`` that are there, (N, W).

    Raises:
        ValueError: If they are not of that width.
    """
    found = [chunk.drop_null() for chunk in column.chunks]
    values = np.concatenate([np.zeros(0, dtype), *(chunk.flatten().to_numpy() for chunk in found)])
    rows = sum(map(len, found))
    if len(values) != rows * width:
        raise ValueError(
            f"expected rows of {width} values, found {rows} rows with {len(values)} values: another version or another "
            "captioner wrote them. Run again with `--restart encode`."
        )
    return values.reshape(-1, width)


@dataclass(frozen=True)
class CodeStatistics:
    """What the codes of a set add up to.

    Attributes:
        counts: How often each code occurs, (K,), int64.
        frequency: In how many records it occurs, (K,), int64.
        num_usable: N.
    """

    counts: np.ndarray
    frequency: np.ndarray
    num_usable: int


def with_code_statistics(table: pa.Table, codes: np.ndarray, num_codes: int) -> pa.Table:
    """A part's table with the statistics of its codes (N, L) in the schema, where they are read without the codes."""
    counts = np.bincount(codes.ravel(), minlength=num_codes)
    metadata = {
        _COUNTS: _packed(counts),
        _FREQUENCY: _packed(document_frequency(codes, num_codes)),
        _USABLE: str(len(codes)).encode(),
    }
    return table.replace_schema_metadata(metadata)


def code_statistics(paths: Iterable[Path], num_codes: int) -> CodeStatistics:
    """The statistics of several parts together.

    Raises:
        ValueError: If a part has none, or those of another codebook.
    """
    counts, frequency, num_usable = np.zeros(num_codes, np.int64), np.zeros(num_codes, np.int64), 0
    for path in paths:
        metadata = pq.read_schema(path).metadata or {}
        if _COUNTS not in metadata or len(_unpacked(metadata[_COUNTS])) != num_codes:
            raise ValueError(
                f"{path} lacks the statistics of {num_codes} codes: another version or another codebook made it. Run "
                "again with `--restart encode`."
            )
        counts += _unpacked(metadata[_COUNTS])
        frequency += _unpacked(metadata[_FREQUENCY])
        num_usable += int(metadata[_USABLE])
    return CodeStatistics(counts, frequency, num_usable)


def codebook_size(path: Path) -> int:
    """K, by the statistics in a part's schema.

    Raises:
        ValueError: If it has none.
    """
    metadata = pq.read_schema(path).metadata or {}
    if _COUNTS not in metadata:
        raise ValueError(f"{path} lacks the statistics of its codes: run again with `--restart encode`.")
    return len(_unpacked(metadata[_COUNTS]))


def _packed(values: np.ndarray) -> bytes:
    return base64.b64encode(values.astype("<u4").tobytes())


def _unpacked(text: bytes) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<u4").astype(np.int64)
