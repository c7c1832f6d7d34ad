"""What a source yields: records (one image-text pair each) grouped in parts.

A record that cannot be used is still yielded, with ``error`` saying why: the ledger accounts for every one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

# What a source may tell of a pair beside its caption, by img2dataset's names; fields of `Record`, columns of tables.
METADATA = {
    "url": pa.string(),
    "sha256": pa.string(),  # of the encoded image as it was downloaded
    "width": pa.int32(),  # in pixels, as the encoded image is stored
    "height": pa.int32(),
    "original_width": pa.int32(),  # before img2dataset resized it
    "original_height": pa.int32(),
}
_MAX_NUMBER = 2**31 - 1
COLUMN_MARK = "#parquet:"


@dataclass(frozen=True)
class ImageLocation:
    """Where an image's encoded bytes lie: in a file of their own, in a tar, or in a row of a Parquet table.

    Args:
        path: The file; for a row ``TABLE#parquet:COLUMN``, a table and its column of image bytes.
        offset: First byte in a tar, or number of a table's row, from 0; -1 means that the whole file is the image.
        size: Number of the image's bytes; -1 with ``offset`` -1.
    """

    path: str
    offset: int = -1
    size: int = -1

    @classmethod
    def in_table(cls, table: str, column: str, row: int, size: int) -> ImageLocation:
        """Place of the ``size`` bytes that a row of a Parquet table has in a column."""
        return cls(f"{table}{COLUMN_MARK}{column}", row, size)

    @property
    def file(self) -> str:
        """Path of the file that the bytes are in."""
        return self.path.rpartition(COLUMN_MARK)[0] if self.column else self.path

    @property
    def column(self) -> str:
        """Column of the Parquet table that the bytes are in; "" where they are in no table."""
        return self.path.rpartition(COLUMN_MARK)[2] if self.offset >= 0 and COLUMN_MARK in self.path else ""


@dataclass(frozen=True)
class Record:
    """One image-text pair.

    Args:
        key: Identity of the pair, unique in the source. ``IMAGE_KEY#i`` where an image has several captions.
        image_key: ``key`` without ``#i``: the pairs of one image share it, and share one encoding.
        caption: Original caption, valid Unicode without NUL, stripped.
        error: Empty if the record is usable, else why it is not, e.g. ``"empty caption"``.
        location: Where the image's bytes lie, None where there is no image.
        image: Encoded image bytes, None where missing or not asked for.
        url, sha256, width, height, original_width, original_height: :data:`METADATA`, None where the source does not
            tell.
    """

    key: str
    image_key: str
    caption: str
    error: str
    location: ImageLocation | None
    image: bytes | None
    url: str | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None


@dataclass(frozen=True)
class Part:
    """The unit of work and of resuming: one tar, or one slice of an annotation file or a table.

    Args:
        index: Position in the source.
        name: File-system-safe name, unique in the source.
        path: The file the part is read from.
    """

    index: int
    name: str
    path: str


class Source(Protocol):
    """Image-text pairs in parts that can be read apart from each other."""

    parts: list[Part]

    def read(self, part: Part, images: bool = True) -> Iterator[Record]:
        """Records of ``part`` in file order; a bad record is yielded with ``error`` set, not raised.

        With ``images`` False they are the same but for ``image``, which is None, and no image's bytes are read; but
        those in a Parquet table, which tells their size only so, are read and not kept.
        """
        ...

    def digest(self, part: Part) -> str:
        """Digest of the part's content, taken when it is first asked for; it changes when the part does."""
        ...

    def check_unchanged(self, part: Part) -> None:
        """Check that the part's file is as it was when the source was built, by its size and time of change.

        Raises:
            ValueError: If it is not; names the file.
        """
        ...

    def describe(self) -> dict:
        """What the source is, as JSON-able values, for a manifest."""
        ...


def clean_caption(text: bytes | str) -> str:
    """Caption as valid Unicode: invalid UTF-8 becomes U+FFFD, byte-order marks and NULs go, ends stripped.

    Args:
        text: UTF-8 bytes, or a string (which JSON may have given unpaired surrogates).
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    # Unpaired surrogates are legal in a JSON file but can be written to neither UTF-8 nor Parquet.
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    return text.replace("\x00", "").replace("\ufeff", "").strip()


def metadata_of(fields: Mapping) -> dict[str, str | int]:
    """Those of :data:`METADATA` that fields tell: texts, made safe to store as captions are, and numbers of 32 bits.

    What is of another type, out of range or empty is left out.
    """
    found: dict[str, str | int] = {}
    for name, kind in METADATA.items():
        value = fields.get(name)
        if pa.types.is_string(kind):
            if isinstance(value, str) and (text := clean_caption(value)):
                found[name] = text
        elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_NUMBER:
            found[name] = value
    return found
