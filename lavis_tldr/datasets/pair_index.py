"""Images with their captions, held in Arrow columns.

Millions of Python objects would take several times the memory of the text in them; and each loader process would
come to hold a copy, since looking at an object writes its reference count. Columns are written once, then shared.
"""

import os
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.sources import ImageLocation, Record

Item = tuple[str, ImageLocation, list[str]]

_BLOCK = 2**13  # pairs or items that are Python objects at once
# Paths as the file system has them, in bytes: not all are valid Unicode. A tar's path is stored once.
_PLACE = [("path", pa.dictionary(pa.int32(), pa.large_binary())), ("offset", pa.int64()), ("size", pa.int64())]
_PAIRS = pa.schema([("group", pa.large_string()), ("key", pa.large_string()), *_PLACE, ("caption", pa.large_string())])
_ITEMS = pa.schema([("key", pa.large_string()), *_PLACE, ("captions", pa.list_(pa.large_string()))])


class PairIndex(Sequence):
    """A sequence of (key, place, captions), one for each image; pickled and forked as a few flat buffers.

    Args:
        items: Columns ``key``, ``path``, ``offset``, ``size`` and ``captions``, as `PairIndexBuilder` makes them.
    """

    def __init__(self, items: pa.RecordBatch):
        self._items = items

    def __len__(self) -> int:
        return self._items.num_rows

    def __getitem__(self, index: int) -> Item:
        row = range(len(self))[index]  # counts from the end, and refuses, as a list does
        return _item(*(column[row].as_py() for column in self._items.columns))

    def __iter__(self) -> Iterator[Item]:
        for start in range(0, len(self), _BLOCK):
            columns = self._items.slice(start, _BLOCK).columns
            yield from map(_item, *(column.to_pylist() for column in columns))

    @property
    def num_captions(self) -> int:
        """T, over all items."""
        return len(self._items["captions"].flatten())

    def captions(self, rows: np.ndarray | None = None) -> list[str]:
        """The captions of all items one after the other, or some of them.

        Args:
            rows: Which of the T captions, int; None for all.
        """
        captions = self._items["captions"].flatten()
        return (captions if rows is None else captions.take(pa.array(rows, pa.int64()))).to_pylist()

    def take(self, rows: np.ndarray) -> "PairIndex":
        """The items of some rows, in their order, (M,) int; or those of a mask, (N,) bool."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return PairIndex(self._items.take(pa.array(rows, pa.int64())))


class PairIndexBuilder:
    """Collects pairs part by part, and makes a `PairIndex` of them.

    Args:
        by_image: One item an image with all its captions, in the order they came, sorted by the image's key; else one
            a pair, sorted by the pair's key.
    """

    def __init__(self, by_image: bool):
        self._by_image = by_image
        self._blocks: dict[str, list[pa.RecordBatch]] = {}  # by part
        self._pairs: list[tuple] = []  # of the last part, not in a block yet
        self._last = ""

    def start_part(self, name: str) -> None:
        """Begin a part; what was added of it before is dropped, so that it can be added again."""
        self._close_block()
        self._blocks[name], self._last = [], name

    def add(self, record: Record) -> None:
        """A pair of the part begun last."""
        place, group = record.location, record.image_key if self._by_image else record.key
        path = os.fsencode(place.path)
        self._pairs.append((group, record.image_key, path, place.offset, place.size, record.caption))
        if len(self._pairs) == _BLOCK:
            self._close_block()

    def take_part(self) -> list[pa.RecordBatch]:
        """What was added since `start_part`, taken out, so that another process can `add_part` it."""
        self._close_block()
        return self._blocks.pop(self._last)

    def add_part(self, name: str, blocks: list[pa.RecordBatch]) -> None:
        """A whole part, as `take_part` gives it."""
        self._close_block()
        self._blocks[name] = blocks

    def build(self) -> PairIndex:
        """The index of all that was added; the builder is empty afterwards."""
        self._close_block()
        table = pa.Table.from_batches([block for blocks in self._blocks.values() for block in blocks], _PAIRS)
        self._blocks = {}
        columns = dict(zip(table.column_names, table.columns, strict=True))
        del table

        def column(name: str) -> pa.Array:
            whole = columns.pop(name).combine_chunks()  # the last use of its blocks
            pa.default_memory_pool().release_unused()  # else they are kept for reuse, as much memory again
            return whole

        groups = column("group")
        order = pc.array_sort_indices(groups)  # by code point, as Python sorts; stable
        starts = _starts(groups.take(order))
        del groups
        firsts = order.take(starts)  # the pair of each item that came first
        found = [column(name).take(firsts) for name in ("key", "path", "offset", "size")]
        ends = pa.concat_arrays([starts.cast(pa.int32()), pa.array([len(order)], pa.int32())])
        captions = pa.ListArray.from_arrays(ends, column("caption").take(order))
        pa.default_memory_pool().release_unused()
        return PairIndex(pa.RecordBatch.from_arrays([*found, captions], schema=_ITEMS))

    def _close_block(self) -> None:
        if self._pairs:
            columns = zip(*self._pairs, strict=True)
            arrays = [_array(values, field.type) for values, field in zip(columns, _PAIRS, strict=True)]
            self._blocks[self._last].append(pa.RecordBatch.from_arrays(arrays, schema=_PAIRS))
            self._pairs = []


def _item(key: str, path: bytes, offset: int, size: int, captions: list[str]) -> Item:
    return key, ImageLocation(os.fsdecode(path), offset, size), captions


def _array(values: tuple, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode()
    return pa.array(values, kind)


def _starts(groups: pa.Array) -> pa.Array:
    """Where each run of equal values begins, (N,), int64."""
    if not len(groups):
        return pa.array([], pa.int64())
    new = pc.not_equal(groups[1:], groups[:-1]).to_numpy(zero_copy_only=False)
    return pa.array(np.flatnonzero(np.concatenate([[True], new])))
