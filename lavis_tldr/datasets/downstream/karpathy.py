"""Karpathy's split files (``dataset_coco.json``, ``dataset_flickr30k.json``), and the lists that LAVIS (as BLIP) reads.

From ``{"dataset", "images": [{"filename", "filepath", "split", "sentences": [{"raw"}], "imgid", "cocoid"}]}``. A list
for training has a row a caption, one for evaluation a row an image with all its captions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavis_tldr.datasets.downstream.json_files import read_json, write_json
from lavis_tldr.user_errors import closest

ARCHIVE = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
_TRAIN = ("train", "restval")  # restval, of COCO's val2014, is trained on
_SPLITS = (*_TRAIN, "val", "test")


@dataclass(frozen=True)
class KarpathyImage:
    """An image of such a file.

    Attributes:
        file: Its path below the folder of images.
        split: "train", "restval", "val" or "test".
        captions: As people wrote them; may be none.
        number: COCO's id, else the file's own.
    """

    file: str
    split: str
    captions: tuple[str, ...]
    number: int


@dataclass(frozen=True)
class KarpathySet:
    """One of his sets.

    Attributes:
        name: As the file has it under ``dataset``, and in its own name.
        path_of: Path of a row's image below the folder of images.
        id_of: What tells images apart in training, from an image's number.
    """

    name: str
    path_of: Callable[[Mapping[str, Any]], str]
    id_of: Callable[[int], str | int]

    @property
    def file(self) -> str:
        return f"dataset_{self.name}.json"

    def read(self, folder: Path) -> list[KarpathyImage]:
        """The images of the file in ``folder``, in its order.

        Raises:
            ValueError: If it is absent, of another set or layout, or names an image twice.
        """
        path = folder / self.file
        content = read_json(path, "take it out of Karpathy's caption_datasets.zip")
        found = content.get("dataset") if isinstance(content, dict) else None
        if found != self.name or not isinstance(content.get("images"), list):
            raise ValueError(
                f"{path} is of the set {found!r}; expected Karpathy's of {self.name!r}, with a list of images."
            )
        images = [self._image(row, f"image {number} of {path}") for number, row in enumerate(content["images"])]
        counts = Counter(image.file for image in images)
        if doubled := [file for file, count in counts.items() if count > 1]:
            raise ValueError(f"{path} has {doubled[0]} twice: it would be looked for in two places. Take the original.")
        return images

    def _image(self, row, what: str) -> KarpathyImage:
        try:
            captions = tuple(sentence["raw"] for sentence in row["sentences"])
            number = int(row.get("cocoid", row["imgid"]))
            image = KarpathyImage(self.path_of(row), row["split"], captions, number)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{what} lacks {error}; expected filename, split, imgid, sentences with raw.") from error
        if image.split not in _SPLITS:
            raise ValueError(f"{what} is in the split {image.split!r}{closest(str(image.split), _SPLITS)}.")
        return image

    def rows(self, images: Iterable[KarpathyImage], split: str) -> list[dict]:
        """LAVIS's list of "train", "val" or "test"."""
        own = images_of(images, split)
        if split == "train":
            return [
                {"image": image.file, "caption": caption, "image_id": self.id_of(image.number)}
                for image in own
                for caption in image.captions
            ]
        return [{"image": image.file, "caption": list(image.captions)} for image in own if image.captions]

    def convert(self, folder: Path, lists: Mapping[str, str], published: Mapping[str, int]) -> list[str]:
        """Write the lists of the file in ``folder``.

        Args:
            folder: The set's.
            lists: Path of the list of train, val and test, from the folder.
            published: Images of each split; another number is told.

        Returns:
            A line for each list.

        Raises:
            ValueError: As `read`.
        """
        images = self.read(folder)
        told = []
        for split, path in lists.items():
            write_json(folder / path, self.rows(images, split))
            told.append(_line(path, images_of(images, split), published[split]))
        return told


def images_of(images: Iterable[KarpathyImage], split: str) -> list[KarpathyImage]:
    """Those of "train" (restval among them), "val" or "test"."""
    wanted = _TRAIN if split == "train" else (split,)
    return [image for image in images if image.split in wanted]


def split_sizes(images: Iterable[KarpathyImage]) -> str:
    """How many images there are of each split, in words."""
    counts = Counter(image.split for image in images)
    return ", ".join(f"{split} {counts[split]:,}" for split in _SPLITS if split in counts)


def _line(path: str, images: list[KarpathyImage], published: int) -> str:
    count = sum(bool(image.captions) for image in images)
    line = f"{path}: {count:,} images, {sum(len(image.captions) for image in images):,} captions"
    if without := len(images) - count:
        line += f"; {without:,} images without caption left out"
    return line if count == published else f"{line} (the published split has {published:,} images)"
