"""Readers that yield (key, image, caption) once each; no LAVIS and no torch in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lavis_tldr.sources.folder import FolderSource
from lavis_tldr.sources.image_bytes import read_image_bytes
from lavis_tldr.sources.images import decode_image, image_suffix
from lavis_tldr.sources.lavis_json import LavisJsonSource
from lavis_tldr.sources.parquet import ParquetSource
from lavis_tldr.sources.record import ImageLocation, Part, Record, Source
from lavis_tldr.sources.unique_keys import check_unique_keys
from lavis_tldr.sources.webdataset import WebDatasetSource
from lavis_tldr.user_errors import closest

__all__ = [
    "FolderSource",
    "ImageLocation",
    "LavisJsonSource",
    "ParquetSource",
    "Part",
    "Record",
    "Source",
    "WebDatasetSource",
    "build_source",
    "check_unique_keys",
    "decode_image",
    "image_suffix",
    "read_image_bytes",
]


@dataclass(frozen=True)
class _Format:
    build: Callable[..., Source]
    required: tuple[str, ...]
    optional: tuple[str, ...]


FORMATS = {
    "webdataset": _Format(WebDatasetSource, ("tars",), ("key_prefix",)),
    "lavis_json": _Format(LavisJsonSource, ("annotations", "image_root"), ("part_size",)),
    "folder": _Format(FolderSource, ("root",), ("part_size",)),
    "parquet": _Format(ParquetSource, ("tables",), ("image_root", "image", "caption", "key", "part_size")),
}


def build_source(config: Mapping) -> Source:
    """Build the source that a run config names.

    Args:
        config: ``{"format": "webdataset", "tars": path, glob, {00000..00007} pattern or list of them}``
            and optionally ``key_prefix``; or ``{"format": "lavis_json", "annotations": path or list,
            "image_root": folder}`` and optionally ``part_size``; or ``{"format": "parquet", "tables": path,
            pattern or list}`` and, where the tables have image paths, ``"image_root": folder``; optionally
            ``image``, ``caption``, ``key`` and ``part_size``; or ``{"format": "folder", "root": folder}`` of images
            with their captions beside them as ``.txt``, and optionally ``part_size``.

    Raises:
        ValueError: If a key is missing or unknown, or what it names is not there.
    """
    config = dict(config)
    name = config.pop("format", None)
    if name not in FORMATS:
        found = "has no 'format'" if name is None else f"has format {name!r}"
        raise ValueError(f"The source config {found}; the formats are {', '.join(FORMATS)}.")
    known = FORMATS[name]
    allowed = (*known.required, *known.optional)
    for key in config:
        if key not in allowed:
            raise ValueError(f"Unknown key {key!r} in the {name} source's config{closest(key, allowed)}.")
    for key in known.required:
        if not config.get(key):
            raise ValueError(f"The {name} source's config lacks {key!r}; it needs {', '.join(known.required)}.")
    return known.build(**config)
