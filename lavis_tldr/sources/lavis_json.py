"""LAVIS annotation lists: ``[{"image": path, "caption": text or [texts]}, ...]`` with an image root.

An image with one caption has its path as key; one with several, in a list or in several entries, gives the
pairs ``PATH#0``, ``PATH#1``, ... in file order. Fields other than ``image``, ``caption`` and the metadata are ignored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from lavis_tldr.sources.caption_columns import CaptionColumnsBuilder, Pair
from lavis_tldr.sources.image_folder import ImageFolder
from lavis_tldr.sources.json_list import NoJsonListError, iter_json_list
from lavis_tldr.sources.record import Part, Record, clean_caption, metadata_of
from lavis_tldr.sources.source_files import SourceFiles, check_part_size, find_files


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
        self._starts: list[int] = []  # by part, the row it begins at
        columns = CaptionColumnsBuilder()
        for path in paths:
            columns.start_file(os.path.basename(path))
            for number, entry in enumerate(_entries(path)):
                if number % part_size == 0:
                    self.parts.append(Part(len(self.parts), f"{len(self.parts):05d}", path))
                    self._starts.append(len(columns))
                metadata = metadata_of(entry) if isinstance(entry, dict) else {}
                for caption in _captions(entry):
                    columns.add(*caption, number, metadata)
        self._starts.append(len(columns))
        self._columns = columns.build()

    def read(self, part: Part, images: bool = True) -> Iterator[Record]:
        """Records of one slice; the bytes of an image are read once for neighbouring pairs.

        Without ``images``, the files are only looked for: one that breaks when it is read shows no error.
        """
        nothing = None, None, ""
        last, found = "", nothing
        for pair in self._pairs(part):
            if pair.image != last:
                last, found = pair.image, self._folder.read(pair.image, images) if pair.image else nothing
            image, location, problem = found
            metadata = json.loads(pair.metadata) if pair.metadata else {}
            yield Record(pair.key, pair.image_key, pair.caption, problem or pair.error, location, image, **metadata)

    def digest(self, part: Part) -> str:
        """Digest of the slice's keys and captions and of each image file's size.

        An image replaced by one of another size is noticed so; the images' bytes are not read.
        """
        if part.index not in self._digests:
            digest = blake2b(digest_size=16)
            for pair in self._pairs(part):
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

    def _pairs(self, part: Part) -> Iterator[Pair]:
        return self._columns.pairs(*self._starts[part.index : part.index + 2])


def _entries(path: str) -> Iterator[object]:
    """The entries of a list; the last thing it does is to complain if none of them was an annotation."""
    expected = 'expected a list of {"image": path, "caption": text or list of texts}'
    first, useful = "", False
    try:
        for entry, _ in iter_json_list(path):
            first = first or json.dumps(entry)[:200]
            useful = useful or (isinstance(entry, dict) and "image" in entry and "caption" in entry)
            yield entry
    except NoJsonListError:
        found = _load(path)
        keys = f" with the keys {sorted(found)[:5]}" if isinstance(found, dict) else ""
        raise ValueError(f"{path} holds a {type(found).__name__}{keys}; {expected}.") from None
    except (ValueError, RecursionError) as error:
        raise _no_json(path, error) from error
    if not first:
        raise ValueError(f"{path} holds an empty list; {expected}.")
    if not useful:
        raise ValueError(
            f"No entry of {path} has both 'image' and 'caption'; {expected}. Its first entry is "
            f"{first}. Rename the fields, or name another file."
        )


def _load(path: str) -> object:
    """What a file holds that is no list."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:
        raise _no_json(path, error) from error


def _no_json(path: str, error: Exception) -> ValueError:
    return ValueError(
        f"{path} is not JSON: {error}. Give a LAVIS annotation list "
        f'[{{"image": ..., "caption": ...}}, ...]; of JSON lines, make one list first.'
    )


def _captions(entry: object) -> Iterator[tuple[str, str, str]]:
    """``(image path, caption, error)`` for each caption of an entry; one without a caption if it has none."""
    if not isinstance(entry, dict):
        yield "", "", f"not an annotation: a {type(entry).__name__}"
        return
    found = entry.get("image")
    image = found if isinstance(found, str) else ""
    captions = entry.get("caption")
    if not isinstance(captions, list):
        captions = [captions]
    for caption in captions or [None]:
        text, error = _caption(caption)
        yield image, text, error if image else "missing image"


def _caption(found: object) -> tuple[str, str]:
    if not isinstance(found, str):
        return "", "missing caption" if found is None else f"missing caption: a {type(found).__name__}"
    caption = clean_caption(found)
    return caption, "" if caption else "empty caption"
