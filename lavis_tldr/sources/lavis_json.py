"""LAVIS annotation lists: ``[{"image": path, "caption": text or [texts]}, ...]`` with an image root.

An image with one caption has its path as key; one with several, in a list or in several entries, gives the
pairs ``PATH#0``, ``PATH#1``, ... in file order. Fields other than ``image`` and ``caption`` are ignored.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

from lavis_tldr.sources.digest import SourceFiles
from lavis_tldr.sources.image_folder import ImageFolder
from lavis_tldr.sources.keys import KeyRegister
from lavis_tldr.sources.part_names import check_part_size
from lavis_tldr.sources.patterns import find_files
from lavis_tldr.sources.record import Part, Record
from lavis_tldr.sources.text import clean_caption, clean_key


@dataclass(frozen=True)
class _Pair:
    key: str
    image_key: str
    image: str  # path as annotated, "" where there is none
    caption: str
    error: str


class LavisJsonSource:
    """Image-text pairs of LAVIS annotation files; a part is a slice of ``part_size`` entries.

    Args:
        annotations: Path, glob or brace pattern of the annotation files, or a list of them.
        image_root: Folder that the annotated paths start from.
        part_size: Entries in a part; the last part of a file may have fewer.

    Raises:
        ValueError: If a file or the root is missing, or a file is not such a list.
    """

    def __init__(self, annotations: str | Iterable[str], image_root: str, *, part_size: int = 10_000) -> None:
        self.annotations = annotations if isinstance(annotations, str) else [str(path) for path in annotations]
        self.part_size = check_part_size(part_size)
        paths = find_files(self.annotations, "annotation file")
        self._folder = ImageFolder(image_root)
        self._files = SourceFiles(paths)
        self._digests: dict[int, str] = {}  # by part
        self.parts: list[Part] = []
        self._pairs: list[list[_Pair]] = []  # by part
        entries = [_entries(path) for path in paths]
        num_captions = Counter(image for rows in entries for image, captions, _ in rows for _ in captions or [0])
        next_caption: Counter[str] = Counter()
        keys = KeyRegister()
        for path, rows in zip(paths, entries, strict=True):
            for start in range(0, len(rows), part_size):
                pairs = [
                    pair
                    for number, row in enumerate(rows[start : start + part_size], start)
                    for pair in _pairs(row, f"{os.path.basename(path)}[{number}]", num_captions, next_caption, keys)
                ]
                index = len(self.parts)
                self.parts.append(Part(index, f"{index:05d}", path))
                self._pairs.append(pairs)

    def read(self, part: Part, images: bool = True) -> Iterator[Record]:
        """Records of one slice; the bytes of an image are read once for neighbouring pairs.

        Without ``images``, the files are only looked for: one that breaks when it is read shows no error.
        """
        nothing = None, None, ""
        last, found = "", nothing
        for pair in self._pairs[part.index]:
            if pair.image != last:
                last, found = pair.image, self._folder.read(pair.image, images) if pair.image else nothing
            image, location, problem = found
            yield Record(pair.key, pair.image_key, pair.caption, problem or pair.error, location, image)

    def digest(self, part: Part) -> str:
        """Digest of the slice's keys and captions and of each image file's size.

        An image replaced by one of another size is noticed so; the images' bytes are not read.
        """
        if part.index not in self._digests:
            digest = blake2b(digest_size=16)
            for pair in self._pairs[part.index]:
                size = self._folder.size(pair.image)
                digest.update(json.dumps([pair.key, pair.caption, pair.error, size]).encode())
            self._digests[part.index] = digest.hexdigest()
        return self._digests[part.index]

    def check_unchanged(self, part: Part) -> None:
        self._files.check_unchanged(part.path)

    def describe(self) -> dict:
        return {
            "format": "lavis_json",
            "annotations": self.annotations,
            "image_root": self._folder.root,
            "part_size": self.part_size,
            "num_parts": len(self.parts),
        }


_Row = tuple[str, list[tuple[str, str]], str]  # image path, (caption, error) of each caption, error of the entry


def _entries(path: str) -> list[_Row]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not JSON: {error}. Give a LAVIS annotation list "
            f'[{{"image": ..., "caption": ...}}, ...]; of JSON lines, make one list first.'
        ) from error
    expected = 'expected a list of {"image": path, "caption": text or list of texts}'
    if not isinstance(found, list):
        keys = f" with the keys {sorted(found)[:5]}" if isinstance(found, dict) else ""
        raise ValueError(f"{path} holds a {type(found).__name__}{keys}; {expected}.")
    if not found:
        raise ValueError(f"{path} holds an empty list; {expected}.")
    if not any(isinstance(entry, dict) and "image" in entry and "caption" in entry for entry in found):
        raise ValueError(
            f"No entry of {path} has both 'image' and 'caption'; {expected}. Its first entry is "
            f"{json.dumps(found[0])[:200]}. Rename the fields, or name another file."
        )
    return [_row(entry) for entry in found]


def _row(entry: object) -> _Row:
    if not isinstance(entry, dict):
        return "", [], f"not an annotation: a {type(entry).__name__}"
    image = entry.get("image")
    error = "" if isinstance(image, str) and image else "missing image"
    captions = entry.get("caption")
    if not isinstance(captions, list):
        captions = [captions]
    return image if not error else "", [_caption(caption) for caption in captions], error


def _caption(found: object) -> tuple[str, str]:
    if not isinstance(found, str):
        return "", "missing caption" if found is None else f"missing caption: a {type(found).__name__}"
    caption = clean_caption(found)
    return caption, "" if caption else "empty caption"


def _pairs(
    row: _Row, place: str, num_captions: Counter[str], next_caption: Counter[str], keys: KeyRegister
) -> Iterator[_Pair]:
    image, captions, entry_error = row
    # An entry without an image is named by its place, so that the ledger can point at it.
    image_key = clean_key(image) or place
    for caption, caption_error in captions or [("", "missing caption")]:
        wanted = image_key
        if image and num_captions[image] > 1:
            wanted = f"{image_key}#{next_caption[image]}"
            next_caption[image] += 1
        key, doubled = keys.claim(wanted)
        error = entry_error or caption_error or (f"doubled key: {wanted}" if doubled else "")
        yield _Pair(key, image_key, image, caption, error)
