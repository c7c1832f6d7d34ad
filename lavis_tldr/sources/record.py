"""What a source yields: records (one image-text pair each) grouped in parts.

A record that cannot be used is still yielded, with ``error`` saying why: the ledger accounts for every one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ImageLocation:
    """Where an image's encoded bytes lie.

    Args:
        path: The file: an image of its own, or a tar.
        offset: First byte inside ``path``; -1 means that the whole file is the image.
        size: Number of bytes from ``offset``; -1 with ``offset`` -1.
    """

    path: str
    offset: int = -1
    size: int = -1


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
    """

    key: str
    image_key: str
    caption: str
    error: str
    location: ImageLocation | None
    image: bytes | None


@dataclass(frozen=True)
class Part:
    """The unit of work and of resuming: one tar, or one slice of an annotation file.

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

        With ``images`` False they are the same but for ``image``, which is None, and no image's bytes are read.
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
