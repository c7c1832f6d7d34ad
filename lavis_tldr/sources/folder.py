"""A folder of image files, each with its caption beside it: ``DIR/a.jpg`` and ``DIR/a.txt``.

The key is the image's path from the root. Where an image has no text file its record says so; as a target
(``run.target``) it counts all the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from hashlib import blake2b

from lavis_tldr.sources.image_folder import ImageFolder
from lavis_tldr.sources.keys import KeyRegister, clean_key
from lavis_tldr.sources.record import Part, Record, clean_caption
from lavis_tldr.sources.source_files import check_part_size
from lavis_tldr.sources.webdataset import IMAGE_SUFFIXES


class FolderSource:
    """Image-text pairs of a folder and those below it; a part is a slice of ``part_size`` images in order of path.

    Args:
        root: The folder.
        part_size: Images in a part; the last may have fewer.

    Raises:
        ValueError: If it is no folder, or holds no image.
    """

    def __init__(self, root: str, *, part_size: int = 10_000) -> None:
        self.part_size = check_part_size(part_size)
        self._folder = ImageFolder(root)
        self._images = sorted(_images_below(self._folder.root))
        if not self._images:
            raise ValueError(
                f"{self._folder.root} holds no image (a file that ends in {', '.join(IMAGE_SUFFIXES)}): give the "
                "folder that they lie in."
            )
        starts = range(0, len(self._images), part_size)
        self.parts = [Part(i, f"{i:05d}", self._folder.root) for i in range(len(starts))]
        self._built = {part.index: self._digest(part) for part in self.parts}

    def read(self, part: Part, images: bool = True) -> Iterator[Record]:
        keys = KeyRegister()
        for name in self._names(part):
            key, _ = keys.claim(clean_key(name))
            image, location, problem = self._folder.read(name, images)
            caption, missing = self._caption(name)
            yield Record(key, key, caption, problem or missing, location, image)

    def digest(self, part: Part) -> str:
        """Digest of the slice's paths and captions and of each image file's size."""
        return self._built[part.index]

    def check_unchanged(self, part: Part) -> None:
        if self._digest(part) != self._built[part.index]:
            raise ValueError(
                f"{self._folder.root} has changed since this run began. Leave the source as it is while it is read, "
                "and run the same command again."
            )

    def describe(self) -> dict:
        return {
            "format": "folder",
            "root": self._folder.root,
            "part_size": self.part_size,
            "num_parts": len(self.parts),
        }

    def _names(self, part: Part) -> list[str]:
        return self._images[part.index * self.part_size : (part.index + 1) * self.part_size]

    def _digest(self, part: Part) -> str:
        digest = blake2b(digest_size=16)
        for name in self._names(part):
            digest.update(json.dumps([name, *self._caption(name), self._folder.size(name)]).encode())
        return digest.hexdigest()

    def _caption(self, name: str) -> tuple[str, str]:
        """``(caption, error)`` of an image."""
        path = os.path.join(self._folder.root, os.path.splitext(name)[0] + ".txt")
        try:
            with open(path, "rb") as file:
                caption = clean_caption(file.read())
        except FileNotFoundError:
            return "", "missing caption"
        except OSError as error:
            return "", f"missing caption: {error.strerror}"
        return caption, "" if caption else "empty caption"


def _images_below(root: str) -> Iterator[str]:
    """Paths of the images in a folder and those below it, from the folder."""
    for folder, _, names in os.walk(root):
        for name in names:
            if os.path.splitext(name)[1][1:].lower() in IMAGE_SUFFIXES and not name.startswith("."):
                yield os.path.relpath(os.path.join(folder, name), root)
