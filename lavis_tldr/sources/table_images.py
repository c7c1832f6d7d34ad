"""Images inside Parquet files, read in place by row: in little memory, and once each where they come in order."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.sources.images import image_suffix
from lavis_tldr.sources.parquet_file import open_table

IMAGE_BYTES_COLUMNS = ("jpg", "jpeg", "png", "webp")  # as img2dataset calls them
BATCH_BYTES = 2**22  # of images decoded at once, about
HELD_BYTES = 2**26  # of images kept after that, for each table
_BATCH_ROWS = 256
_MAX_TABLES = 4  # kept open by a process


class ChangedTableError(ValueError):
    """A table no longer holds at a place the image that was recorded there."""


def holds_images(path: str, column: str) -> bool:
    """Whether a column holds encoded images, and not their paths.

    So does a struct with ``bytes``, as Hugging Face has it, a column of bytes with a name of
    :data:`IMAGE_BYTES_COLUMNS`, and one of which the first that are there are an image.

    Raises:
        ValueError: If the file is no Parquet.
    """
    if not can_hold_images(path, column):
        return False
    images = _ImageColumn(path, column)
    return images.is_struct or column in IMAGE_BYTES_COLUMNS or image_suffix(images.first()) != ".bin"


def can_hold_images(path: str, column: str) -> bool:
    """Whether a column is there, once, and of bytes or a struct with ``bytes``.

    Raises:
        ValueError: If the file is no Parquet.
    """
    try:
        _ImageColumn(path, column)
    except ChangedTableError:
        return False
    return True


def image_size(path: str, column: str, row: int) -> int:
    """Number of bytes of a row's image; 0 where there is none.

    Raises:
        ChangedTableError: If there is no such row or column of images.
        ValueError: If the file is no Parquet.
        pyarrow.ArrowException, OSError: If it is damaged, or gone.
    """
    with _tables.lock:
        return len(_tables.column(path, column).buffer(row))


def read_image(path: str, column: str, row: int, size: int) -> bytes:
    """A row's image, which must have ``size`` bytes.

    Reading on from row to row decodes each once; a step back begins the row group anew, unless what it needs is among
    the images that this process still holds (at most 64 MiB a table, of the last 4 tables). In random order an image
    so costs about half a row group: for training, which shuffles, export the images or write tars.

    Raises:
        ChangedTableError: If there is no such row or column of images, or its size is another.
        ValueError: If the file is no Parquet.
        pyarrow.ArrowException, OSError: If it is damaged, or gone.
    """
    with _tables.lock:
        data = _tables.column(path, column).buffer(row)
    if len(data) != size:
        raise ChangedTableError(
            f"{path} has {len(data)} bytes in row {row} of {column!r}, but an image of {size} was recorded there: the "
            "table changed since. Encode it anew."
        )
    return bytes(data)


def check_row(path: str, column: str, row: int) -> None:
    """Check by a table's footer that it has a row, and images in a column.

    Raises:
        ChangedTableError: If not.
        ValueError: If the file is no Parquet.
        OSError: If it is gone.
    """
    with _tables.lock:
        _tables.column(path, column).check(row)


class _ImageColumn:
    """The images in a table's column, read from row to row."""

    def __init__(self, path: str, column: str) -> None:
        self._path, self._file = path, open_table(path)
        schema = self._file.schema_arrow
        found = schema.field(column).type if schema.names.count(column) == 1 else pa.null()
        self.is_struct = pa.types.is_struct(found) and found.get_field_index("bytes") >= 0
        if not _is_binary(found.field("bytes").type if self.is_struct else found):
            raise ChangedTableError(
                f"{path} has no image bytes in a column {column!r}; its columns are {', '.join(schema.names)}."
            )
        self._leaf = f"{column}.bytes" if self.is_struct else column
        about = self._file.metadata
        self._groups = [about.row_group(i) for i in range(about.num_row_groups)]
        self._ends = np.cumsum([group.num_rows for group in self._groups])  # rows up to each one's end, (groups,)
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._group, self._next_row = -1, 0  # which one the batches are of, and the row that the next one begins at
        self._held: OrderedDict[int, pa.Array] = OrderedDict()  # by first row, the one used last at the end
        self._held_bytes = 0

    def check(self, row: int) -> None:
        if row >= self._file.metadata.num_rows:
            raise ChangedTableError(
                f"{self._path} has {self._file.metadata.num_rows} rows, but an image was recorded in row {row}: the "
                "table changed since. Encode it anew."
            )

    def buffer(self, row: int) -> pa.Buffer | bytes:
        """The bytes of a row, not copied; empty where there are none."""
        self.check(row)
        for first, images in self._held.items():
            if first <= row < first + len(images):
                self._held.move_to_end(first)
                return _buffer(images[row - first])
        group = int(np.searchsorted(self._ends, row, side="right"))
        start = int(self._ends[group]) - self._groups[group].num_rows
        if group != self._group or row < self._next_row:
            self._batches, self._next_row = self._read(group), start
        self._group = -1  # begun anew if it breaks off now
        while self._next_row <= row:
            images, first = self._images(next(self._batches)), self._next_row
            self._next_row += len(images)
            self._hold(first, images)
        self._group = group
        return _buffer(images[row - first])

    def first(self) -> bytes:
        """The first image that is there; empty if there is none."""
        for group in range(len(self._groups)):
            for batch in self._read(group):
                for image in self._images(batch):
                    if found := _buffer(image):
                        return bytes(found)
        return b""

    def _read(self, group: int) -> Iterator[pa.RecordBatch]:
        about = self._groups[group]
        columns = (about.column(i) for i in range(about.num_columns))
        size = next(column.total_uncompressed_size for column in columns if column.path_in_schema == self._leaf)
        num_rows = max(1, min(_BATCH_ROWS, BATCH_BYTES * about.num_rows // max(size, 1)))
        return self._file.iter_batches(num_rows, [group], [self._leaf], use_threads=False)

    def _images(self, batch: pa.RecordBatch) -> pa.Array:
        return pc.struct_field(batch.column(0), "bytes") if self.is_struct else batch.column(0)

    def _hold(self, first: int, images: pa.Array) -> None:
        if (known := self._held.pop(first, None)) is not None:
            self._held_bytes -= known.nbytes
        self._held[first] = images
        self._held_bytes += images.nbytes
        while self._held_bytes > HELD_BYTES and len(self._held) > 1:
            self._held_bytes -= self._held.popitem(last=False)[1].nbytes


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _buffer(image: pa.Scalar) -> pa.Buffer | bytes:
    return image.as_buffer() if image.is_valid else b""


class _Tables:
    """The columns of images that this process has open."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # a column is a place in a file
        self._columns: OrderedDict[tuple, _ImageColumn] = OrderedDict()

    def column(self, path: str, column: str) -> _ImageColumn:
        found = os.stat(path)
        key = (path, column, found.st_size, found.st_mtime_ns)  # a table written anew is opened anew
        if key not in self._columns:
            self._columns[key] = _ImageColumn(path, column)
            if len(self._columns) > _MAX_TABLES:
                self._columns.popitem(last=False)
        self._columns.move_to_end(key)
        return self._columns[key]


_tables = _Tables()


def _begin_anew() -> None:
    global _tables
    _tables = _Tables()


# A lock may be taken, and a file half read, when a process is forked.
os.register_at_fork(after_in_child=_begin_anew)
