"""Karpathy's split files (``dataset_coco.json``, ``dataset_flickr30k.json``), and LAVIS's lists of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lavis_tldr.files import open_whole
from lavis_tldr.user_errors import closest

TRAIN = ("train", "restval")  # restval, of COCO's val2014, is trained on
_SPLITS = {*TRAIN, "val", "test"}


@dataclass(frozen=True)
class KarpathyImage:
    """An image of such a file.

    Attributes:
        file: Its path below the folder of images: ``val2014/COCO_val2014_000000000042.jpg``; of Flickr30K the name.
        split: "train", "restval", "val" or "test".
        captions: As people wrote them.
        number: COCO's id, else the file's own.
    """

    file: str
    split: str
    captions: tuple[str, ...]
    number: int


def read_karpathy(path: Path) -> list[KarpathyImage]:
    """The images of a split file, in its order.

    Raises:
        ValueError: If it is absent or has another layout.
    """
    content = read_json(path)
    rows = content.get("images") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise ValueError(f'{path} is none of Karpathy\'s split files: expected {{"images": [...], "dataset": NAME}}.')
    return [_image(row, number, path) for number, row in enumerate(rows)]


def _image(row, number: int, path: Path) -> KarpathyImage:
    try:
        captions = tuple(sentence["raw"] for sentence in row["sentences"])
        file = "/".join(part for part in (row.get("filepath", ""), row["filename"]) if part)
        image = KarpathyImage(file, row["split"], captions, int(row.get("cocoid", row["imgid"])))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"image {number} of {path} lacks {error}; expected filename, split, imgid and sentences with raw."
        ) from error
    if image.split not in _SPLITS:
        raise ValueError(f"image {number} of {path} is in the split {image.split!r}{closest(image.split, _SPLITS)}.")
    if not captions:
        raise ValueError(f"image {number} of {path} ({image.file}) has no captions.")
    return image


def training_rows(images: Iterable[KarpathyImage], image_id: str = "coco_{}") -> list[dict]:
    """LAVIS's list to train on: one row a caption; ``image_id`` is made of the image's number."""
    return [
        {"image": image.file, "caption": caption, "image_id": image_id.format(image.number)}
        for image in images
        if image.split in TRAIN
        for caption in image.captions
    ]


def evaluation_rows(images: Iterable[KarpathyImage], split: str) -> list[dict]:
    """LAVIS's list to evaluate on: one row an image, with all its captions."""
    return [{"image": image.file, "caption": list(image.captions)} for image in images if image.split == split]


def split_sizes(images: Iterable[KarpathyImage]) -> str:
    """How many images there are of each split, in words."""
    counts = Counter(image.split for image in images)
    return ", ".join(f"{split} {counts[split]:,}" for split in (*TRAIN, "val", "test") if split in counts)


def read_json(path: Path):
    """A JSON file's content.

    Raises:
        ValueError: If it is absent or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no {path}.") from None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}). Was it downloaded whole?") from error


def write_list(path: Path, content: list | dict) -> None:
    """Write JSON whole or not at all."""
    with open_whole(path) as file:
        file.write(json.dumps(content).encode())
