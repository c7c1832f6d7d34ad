"""The pairs that an export writes: a ledger part's kept rows, their chosen captions and their images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.sources.images import image_suffix, read_image_bytes
from lavis_tldr.sources.record import ImageLocation

CAPTIONS = ("caption", "caption_original", "caption_generated")
COLUMNS = (
    *("key", "image_key", "kept", *CAPTIONS, "caption_from"),
    *("cluster", "alignment", "image_path", "image_offset", "image_size"),
)
_ROWS_AT_ONCE = 1024
_TAR_BLOCK = 512  # bytes; a member's header is the block before its data
_TAR_NAME = 100  # bytes of the name in it


@dataclass
class LostImages:
    """Images of a part that can't be read any more: how many, and what is wrong with the first few."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, key: str, why: object) -> None:
        self.count += 1
        if len(self.first) < 5:
            self.first.append(f"{key!r}: {why}")


@dataclass(frozen=True)
class Pair:
    """A kept ledger row, and its image's original bytes with the suffix that fits them (``".jpg"``)."""

    row: dict
    image: bytes
    suffix: str


def kept_pairs(table: pa.Table, caption: str = "caption") -> pa.Table:
    """The kept rows of a ledger part, sorted by key, with the chosen caption in the column ``caption``.

    Args:
        table: Rows of one ledger part, with :data:`COLUMNS`.
        caption: Which of :data:`CAPTIONS` to choose; ``caption_from`` follows it.

    Returns:
        The rows; ``alignment`` is null where there is no score.

    Raises:
        ValueError: If a kept pair has no such caption.
    """
    table = table.filter(table["kept"]).sort_by("key").combine_chunks()
    empty = table["key"].filter(pc.fill_null(pc.equal(table[caption], ""), True))
    if len(empty):
        others = ", ".join(name for name in CAPTIONS if name != caption)
        raise ValueError(
            f"{len(empty)} of {table.num_rows} kept pairs of a part have no {caption} (first: {empty[0].as_py()!r}). "
            f"Export another caption ({others}), or refine with a recipe that makes it."
        )
    if caption != "caption":
        origin = pa.array([caption.removeprefix("caption_")] * table.num_rows, pa.string())
        table = _replaced(_replaced(table, "caption", table[caption]), "caption_from", origin)
    return _replaced(table, "alignment", pc.if_else(pc.is_nan(table["alignment"]), None, table["alignment"]))


def _replaced(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def iter_rows(table: pa.Table) -> Iterator[dict]:
    """A table's rows as dictionaries, without making them all at once."""
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        yield from batch.to_pylist()


def location_of(row: dict) -> ImageLocation:
    return ImageLocation(row["image_path"], row["image_offset"], row["image_size"])


def read_pairs(table: pa.Table, lost: LostImages) -> Iterator[Pair]:
    """Read each pair's image; those that can't be read are added to ``lost`` and left out.

    An image is lost if its file is gone or cut off, if it is no image any more, or if its tar now has
    another member in its place.
    """
    for row in iter_rows(table):
        location = location_of(row)
        try:
            data = read_image_bytes(location)
            suffix = image_suffix(data)
            if suffix == ".bin":
                raise ValueError(f"what {location.path} holds is no image any more")
            if location.offset >= 0:
                _check_member(location, row["image_key"])
        except ValueError as error:
            lost.add(row["key"], error)
            continue
        yield Pair(row, data, suffix)


def find_lost(table: pa.Table, lost: LostImages) -> None:
    """Add the pairs whose file is gone or too short to ``lost``, without reading any image."""
    tars: dict[str, int] = {}
    for row in iter_rows(table.select(["key", "image_path", "image_offset", "image_size"])):
        location = location_of(row)
        if location.offset < 0:
            if not os.path.isfile(location.path):
                lost.add(row["key"], f"{location.path} is gone")
            continue
        if location.path not in tars:
            tars[location.path] = _size(location.path)
        if tars[location.path] < location.offset + location.size:
            lost.add(row["key"], f"{location.path} is gone or shorter than it was")


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.isfile(path) else -1


def _check_member(location: ImageLocation, image_key: str) -> None:
    """Check by the member's header that the tar was not packed anew: the bytes may be another image's."""
    with open(location.path, "rb") as tar:
        tar.seek(max(location.offset - _TAR_BLOCK, 0))
        name, end, _ = tar.read(_TAR_BLOCK)[:_TAR_NAME].partition(b"\0")
    if not end or not name.isascii():
        return  # cut off here, or spelled otherwise in the key
    found = name.decode().rpartition("/")[2].partition(".")[0]
    expected = image_key.rpartition("/")[2].partition(".")[0]
    if found != expected:
        raise ValueError(f"{location.path} has {found!r} in its place: the tar has changed since it was encoded")
