"""WebDataset tars in img2dataset's layout: ``KEY.jpg``, ``KEY.txt``, ``KEY.json`` beside each other.

A sample is a run of neighbouring members with one key; the key is the member's path up to the first dot of
its file name. The caption is ``KEY.txt``, or where there is none the ``"caption"`` of ``KEY.json``, which
also tells the metadata. Members with other suffixes are passed over, and so are samples that have none of the three.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lavis_tldr.sources.keys import KeyRegister, clean_key
from lavis_tldr.sources.record import ImageLocation, Part, Record, clean_caption, metadata_of
from lavis_tldr.sources.source_files import SourceFiles, find_files, part_names
from lavis_tldr.sources.tar_walk import Member, TarWalk

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif")
_NO_JSON = object()
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass
class _Sample:
    key: str
    location: ImageLocation | None = None  # of the first image
    image: bytes | None = None
    texts: dict[str, bytes] = field(default_factory=dict)  # of txt and json
    refused: dict[str, str] = field(default_factory=dict)  # why members of "image", "txt" and "json" can't be used
    suffixes: set[str] = field(default_factory=set)


class WebDatasetSource:
    """Image-text pairs in WebDataset tars; a part is a tar.

    Args:
        tars: Path, glob or brace pattern (``"data/{00000..00007}.tar"``), or a list of them.
        key_prefix: Make keys ``<part name>/<key>``, for tars that use the same keys each.

    Raises:
        ValueError: If a pattern matches nothing, or a tar is compressed.
    """

    def __init__(self, tars: str | Iterable[str], *, key_prefix: bool = False) -> None:
        self.tars = tars if isinstance(tars, str) else [str(pattern) for pattern in tars]
        self.key_prefix = key_prefix
        paths = find_files(self.tars, "tars")
        for path in paths:
            _refuse_compressed(path)
        self._files = SourceFiles(paths)
        names = part_names([os.path.basename(path).removesuffix(".tar") for path in paths])
        self.parts = [Part(index, name, path) for index, (name, path) in enumerate(zip(names, paths, strict=True))]

    def read(self, part: Part, images: bool = True) -> Iterator[Record]:
        """Records of one tar, read once from front to back; without ``images``, over their bytes.

        A tar that breaks off gives the samples it has and then one record with the key
        ``<part name>~truncated`` and the error ``"truncated tar: ..."``. A key that came before in the tar is
        given as ``KEY~2`` with the error ``"doubled key"``.
        """
        prefix = f"{part.name}/" if self.key_prefix else ""
        keys = KeyRegister()
        wanted = {"image", "txt", "json"} if images else {"txt", "json"}
        walk = TarWalk(part.path, wants=lambda name: _kind(name) in wanted)
        for sample in _samples(part.path, walk):
            key, doubled = keys.claim(clean_key(prefix + sample.key))
            yield _record(key, sample, doubled)
        if walk.failure:
            key, _ = keys.claim(f"{part.name}~truncated")
            yield Record(key, key, "", f"truncated tar: {walk.failure}", None, None)

    def digest(self, part: Part) -> str:
        """Digest of the tar: see :func:`lavis_tldr.sources.source_files.content_digest`."""
        return self._files.digest(part.path)

    def check_unchanged(self, part: Part) -> None:
        self._files.check_unchanged(part.path)

    def describe(self) -> dict:
        return {
            "format": "webdataset",
            "tars": self.tars,
            "key_prefix": self.key_prefix,
            "num_parts": len(self.parts),
        }


def _samples(path: str, members: Iterable[Member]) -> Iterator[_Sample]:
    current: _Sample | None = None
    for member in members:
        key, suffix = _split_name(member.name)
        kind = _kind(member.name)
        if not kind:
            continue
        # A second KEY.jpg is a second sample with that key, not a second picture of the first.
        if current is None or current.key != key or suffix in current.suffixes:
            if current is not None:
                yield current
            current = _Sample(key)
        current.suffixes.add(suffix)
        if member.refused:
            current.refused.setdefault(kind, member.refused)
        elif kind != "image":
            current.texts[kind] = member.data
        elif current.location is None:
            current.location = ImageLocation(path, member.offset, member.size)
            current.image = member.data
    if current is not None:
        yield current


def _kind(name: str) -> str:
    """``"image"``, ``"txt"`` or ``"json"``; empty for members that are passed over."""
    key, suffix = _split_name(name)
    kind = "image" if suffix in IMAGE_SUFFIXES else suffix
    return kind if key and kind in ("image", "txt", "json") else ""


def _split_name(name: str) -> tuple[str, str]:
    """``("a/000", "jpg")`` of ``"./a/000.jpg"``, as WebDataset splits names; suffix in lower case."""
    folder, _, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    folder = folder[2:] if folder.startswith("./") else "" if folder == "." else folder
    return (f"{folder}/{stem}" if folder else stem) if stem else "", suffix.lower()


def _record(key: str, sample: _Sample, doubled: bool) -> Record:
    fields = _fields(sample)
    caption, problem = _caption(sample, fields)
    if doubled:
        problem = f"doubled key: {sample.key} came before in this tar"
    elif sample.location is None:
        problem = _missing("image", sample.refused.get("image"))
    metadata = metadata_of(fields) if isinstance(fields, dict) else {}
    return Record(key, key, caption, problem, sample.location, sample.image, **metadata)


def _fields(sample: _Sample) -> object:
    """What a sample's ``.json`` holds, None where there is none."""
    if "json" not in sample.texts:
        return None
    try:
        return json.loads(sample.texts["json"].decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return _NO_JSON


def _caption(sample: _Sample, fields: object) -> tuple[str, str]:
    """``(caption, error)`` of a sample."""
    if "txt" in sample.texts:
        caption = clean_caption(sample.texts["txt"])
        return caption, "" if caption else "empty caption"
    if "json" not in sample.texts:
        return "", _missing("caption", sample.refused.get("txt") or sample.refused.get("json"))
    if fields is _NO_JSON:
        return "", "missing caption: no .txt, and the .json is not JSON"
    found = fields.get("caption") if isinstance(fields, dict) else None
    if not isinstance(found, str):
        return "", "missing caption: no .txt, and no text under 'caption' in the .json"
    caption = clean_caption(found)
    return caption, "" if caption else "empty caption"


def _missing(what: str, refused: str | None) -> str:
    return f"missing {what}: {refused}" if refused else f"missing {what}"


def _refuse_compressed(path: str) -> None:
    with open(path, "rb") as file:
        start = file.read(8)
    for signature, name in _COMPRESSED.items():
        if start.startswith(signature):
            raise ValueError(
                f"{path} is compressed ({name}). Images are read in place, so tars must be plain: decompress "
                f"it and name the result."
            )
