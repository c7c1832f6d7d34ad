"""Which columns of a Parquet table say what, and what a row of it is, but for images inside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from lavis_tldr.sources.keys import clean_key
from lavis_tldr.sources.parquet_file import Value
from lavis_tldr.sources.record import METADATA, clean_caption, metadata_of
from lavis_tldr.sources.table_images import IMAGE_BYTES_COLUMNS, holds_images

IMAGE_COLUMNS = ("image_path", "image", "path", "file_name")
IMG2DATASET_COLUMNS = ("key", "status")
IMG2DATASET_IMAGE = "{table}/{key}.jpg"
_FIELD = re.compile(r"\{([^{}]*)\}")
_TABLE = "table"  # the field that is no column: the stem of the table's file name
_MAX_REASON = 200  # characters


@dataclass(frozen=True)
class Row:
    """One image with its captions.

    Args:
        key: Identity of the image.
        image: Its path, empty where there is none, or where tables have the images inside.
        captions: ``(caption, error)`` of each.
        error: Why there is no image to look for; empty if there may be one.
        metadata: What the row tells of :data:`lavis_tldr.sources.record.METADATA`.
    """

    key: str
    image: str
    captions: list[tuple[str, str]]
    error: str
    metadata: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """What the columns of a source's tables say.

    Args:
        image: Path of a row's image, with columns and ``table`` in braces; or column of the images themselves.
        caption: Column of captions or of lists of them.
        key: Column of keys; None: the image's path is the key, or the row's place where the image has none.
        is_inside: ``image`` is a column of images.
    """

    image: str
    caption: str
    key: str | None
    is_inside: bool = False

    @property
    def columns(self) -> list[str]:
        """The columns of values that each table must have, each once."""
        fields = [name for name in _FIELD.findall(self.image) if name != _TABLE]
        return list(dict.fromkeys([*fields, self.caption, *([self.key] if self.key else [])]))

    def row(self, values: dict[str, Value], table: str, place: str) -> Row:
        """What a row says.

        Args:
            values: By column.
            table: Stem of the table's file name.
            place: Stands for the key where there is none.
        """
        image, error = self._image(values, table)
        key = clean_key(image)
        if self.key:
            key, key_error = _text(values[self.key], "key")
            key, error = clean_key(key), key_error or error
        status = _plain(values.get("status"))
        if status not in ("", "success"):
            reason = " ".join((_plain(values.get("error_message")) or status).split())[:_MAX_REASON]
            error = f"not downloaded: {reason}"
        return Row(key or place, image, _captions(values[self.caption]), error, _metadata(values))

    def _image(self, values: dict[str, Value], table: str) -> tuple[str, str]:
        """``(path, error)``."""
        if self.is_inside:
            return "", ""
        path, end = "", 0
        for found in _FIELD.finditer(self.image):
            text, error = (table, "") if found[1] == _TABLE else _text(values[found[1]], "image")
            if error:
                return "", error
            path += self.image[end : found.start()] + text
            end = found.end()
        return path + self.image[end:], ""


def find_layout(path: str, names: Sequence[str], image: str | None, caption: str, key: str | None) -> Layout:
    """The layout of a source's tables, as the first of them shows it.

    Args:
        path: The first table.
        names: Its columns.
        image: Column of images or of their paths, or a pattern of paths with columns and ``table`` in braces. None: the
            first column there is of images; or else img2dataset's pattern for tables that look like its own, or the
            first column there is of those usual for paths.
        caption: Column of captions.
        key: Column of keys. None: the column ``key`` if there is one.

    Raises:
        ValueError: If nothing says where the images are.
    """
    usual = [name for name in IMAGE_COLUMNS if name in names]
    candidates = [*usual, *(name for name in IMAGE_BYTES_COLUMNS if name in names)] if image is None else [image]
    inside = next((name for name in candidates if name in names and holds_images(path, name)), None)
    if inside:
        image = inside
    elif image is None:
        if all(name in names for name in IMG2DATASET_COLUMNS):
            image = IMG2DATASET_IMAGE
        elif usual:
            image = usual[0]
        else:
            raise ValueError(
                f"{path} has the columns {', '.join(names)}; expected one of {', '.join(IMAGE_COLUMNS)} with the "
                f"images' paths or the images themselves, or one of {', '.join(IMAGE_BYTES_COLUMNS)} with the images. "
                "Name its column, or a pattern of paths such as '{key}.jpg', as `image` in the source's config."
            )
    if not inside and "{" not in image:
        image = f"{{{image}}}"
    return Layout(image, caption, key or ("key" if "key" in names else None), bool(inside))


def _metadata(values: Mapping[str, Value]) -> dict[str, str | int]:
    fields: dict[str, object] = {}
    for name in METADATA:
        value = values.get(name)
        try:
            fields[name] = value.decode() if isinstance(value, bytes) else value
        except UnicodeDecodeError:  # no text
            continue
    return metadata_of(fields)


def _captions(value: Value) -> list[tuple[str, str]]:
    found = value if isinstance(value, list) else [value]
    return [_caption(one) for one in found or [None]]


def _caption(value: Value) -> tuple[str, str]:
    if not isinstance(value, bytes):
        return "", _missing("caption", value)
    caption = clean_caption(value)
    return caption, "" if caption else "empty caption"


def _text(value: Value, what: str) -> tuple[str, str]:
    """``(text, error)`` of a key or a piece of a path."""
    text = _plain(value)
    return text, "" if text else _missing(what, None if value == b"" else value)


def _plain(value: Value) -> str:
    """Text or a whole number as text; empty for anything else. Bytes that are no UTF-8 stay what they are."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="surrogateescape")
    return str(value) if isinstance(value, int) else ""


def _missing(what: str, value: Value) -> str:
    if value is None:
        return f"missing {what}"
    return f"missing {what}: of type {value if isinstance(value, pa.DataType) else type(value).__name__}"
