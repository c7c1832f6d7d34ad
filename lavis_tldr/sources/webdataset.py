"""WebDataset tars in img2dataset's layout: ``KEY.jpg``, ``KEY.txt``, ``KEY.json`` beside each other.

A sample is a run of neighbouring members with one key; the key is the member's path up to the first dot of
its file name. The caption is ``KEY.txt``, or where there is none the ``"caption"`` of ``KEY.json``. Members
with other suffixes are passed over, and so are samples that have none of the three.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lavis_tldr.sources.digest import content_digests
from lavis_tldr.sources.keys import KeyRegister
from lavis_tldr.sources.patterns import find_files
from lavis_tldr.sources.record import ImageLocation, Part, Record
from lavis_tldr.sources.text import clean_caption, clean_key

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_BLOCK = 512  # bytes


@dataclass
class _Sample:
    key: str
    members: dict[str, bytes] = field(default_factory=dict)  # by suffix, in file order
    location: ImageLocation | None = None  # of the first image

    @property
    def image(self) -> bytes | None:
        return next((data for suffix, data in self.members.items() if suffix in IMAGE_SUFFIXES), None)


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
        self.parts = [
            Part(index, name, path, digest)
            for index, (name, path, digest) in enumerate(
                zip(_part_names(paths), paths, content_digests(paths), strict=True)
            )
        ]

    def read(self, part: Part) -> Iterator[Record]:
        """Records of one tar, read once from front to back.

        A tar that breaks off gives the samples it has and then one record with the key
        ``<part name>~truncated`` and the error ``"truncated tar: ..."``. A key that came before in the tar is
        given as ``KEY~2`` with the error ``"doubled key"``.
        """
        prefix = f"{part.name}/" if self.key_prefix else ""
        keys = KeyRegister()
        failure = _Failure()
        for sample in _samples(part.path, failure):
            key, doubled = keys.claim(clean_key(prefix + sample.key))
            yield _record(key, sample, doubled)
        if failure.reason:
            key, _ = keys.claim(f"{part.name}~truncated")
            yield Record(key, key, "", f"truncated tar: {failure.reason}", None, None)

    def describe(self) -> dict:
        return {
            "format": "webdataset",
            "tars": self.tars,
            "key_prefix": self.key_prefix,
            "num_parts": len(self.parts),
        }


class _Failure:
    """Why reading a tar ended early; empty if it did not."""

    reason: str = ""


def _samples(path: str, failure: _Failure) -> Iterator[_Sample]:
    current: _Sample | None = None
    for key, suffix, data, location in _members(path, failure):
        # A second KEY.jpg is a second sample with that key, not a second picture of the first.
        if current is None or current.key != key or suffix in current.members:
            if current is not None:
                yield current
            current = _Sample(key)
        if suffix in IMAGE_SUFFIXES and current.location is None:
            current.location = location
        current.members[suffix] = data
    if current is not None:
        yield current


def _members(path: str, failure: _Failure) -> Iterator[tuple[str, str, bytes, ImageLocation]]:
    """``(key, suffix, data, location)`` of each image, text and JSON in a tar."""
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, suffix = _split_name(member.name)
                if not member.isreg() or not key or suffix not in (*IMAGE_SUFFIXES, "txt", "json"):
                    continue
                data = tar.extractfile(member).read()
                if len(data) < member.size:
                    raise tarfile.ReadError(f"{member.name!r} has {len(data)} of {member.size} bytes")
                yield key, suffix, data, ImageLocation(path, member.offset_data, member.size)
            end = tar.offset
        # The tarfile module takes a damaged header for the end of the archive.
        with open(path, "rb") as file:
            file.seek(end)
            if file.read(_BLOCK) != bytes(_BLOCK):
                failure.reason = f"no end-of-archive mark where the members end, at byte {end}"
    except (tarfile.TarError, OSError, EOFError) as error:
        failure.reason = str(error) or type(error).__name__


def _split_name(name: str) -> tuple[str, str]:
    """``("a/000", "jpg")`` of ``"./a/000.jpg"``, as WebDataset splits names; suffix in lower case."""
    folder, _, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    folder = folder[2:] if folder.startswith("./") else "" if folder == "." else folder
    return (f"{folder}/{stem}" if folder else stem) if stem else "", suffix.lower()


def _record(key: str, sample: _Sample, doubled: bool) -> Record:
    caption, problem = _caption(sample.members)
    if doubled:
        problem = f"doubled key: {sample.key} came before in this tar"
    elif sample.image is None:
        problem = "missing image"
    return Record(key, key, caption, problem, sample.location, sample.image)


def _caption(members: dict[str, bytes]) -> tuple[str, str]:
    """``(caption, error)`` of a sample."""
    if "txt" in members:
        caption = clean_caption(members["txt"])
        return caption, "" if caption else "empty caption"
    if "json" not in members:
        return "", "missing caption"
    try:
        fields = json.loads(members["json"].decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return "", "missing caption: no .txt, and the .json is not JSON"
    found = fields.get("caption") if isinstance(fields, dict) else None
    if not isinstance(found, str):
        return "", "missing caption: no .txt, and no text under 'caption' in the .json"
    caption = clean_caption(found)
    return caption, "" if caption else "empty caption"


def _refuse_compressed(path: str) -> None:
    with open(path, "rb") as file:
        start = file.read(8)
    for signature, name in _COMPRESSED.items():
        if start.startswith(signature):
            raise ValueError(
                f"{path} is compressed ({name}). Images are read in place, so tars must be plain: decompress "
                f"it and name the result."
            )


def _part_names(paths: list[str]) -> list[str]:
    """The tars' own names where they are distinct, else numbered: adding a tar then renames no other part."""
    stems = [re.sub(r"[^A-Za-z0-9_-]", "_", re.sub(r"\.tar$", "", os.path.basename(path))) for path in paths]
    count = Counter(stem.lower() for stem in stems)
    return [stem if count[stem.lower()] == 1 else f"{index:05d}_{stem}" for index, stem in enumerate(stems)]
