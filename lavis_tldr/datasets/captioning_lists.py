"""LAVIS's captioning lists (COCO, NoCaps), with ids, references and domains made certain of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lavis_tldr.datasets.downstream.coco_truth import read_ground_truth
from lavis_tldr.datasets.downstream.json_files import read_json

_NUMBERED = re.compile(r"(?:.*_)?(\d+)")  # COCO_val2014_000000000073
_IDS = ("image_id", "img_id")  # COCO's name, NoCaps's


class CaptionedImage(NamedTuple):
    """An image's path below the folder of images, and a caption of it."""

    image: str
    caption: str


@dataclass(frozen=True)
class EvaluationList:
    """Images to caption.

    Attributes:
        images: Path of each below the folder of images.
        ids: Of each, as results name it: all numbers, or all texts.
        references: Captions by id; None: there are none.
        domains: Domain by id; None: there are none.
    """

    images: list[str]
    ids: list[int | str]
    references: dict[int | str, list[str]] | None
    domains: dict[int | str, str] | None


def read_training(path: Path) -> list[CaptionedImage]:
    """A pair for each caption of a list.

    Raises:
        ValueError: If the list is absent, of another layout or empty, or a row has no caption.
    """
    rows = _read_rows(path)
    if bare := [row["image"] for row in rows if not _captions(row, path)]:
        raise ValueError(f"{len(bare)} of {len(rows)} rows of {path} have no caption (first: {bare[0]}).")
    return [CaptionedImage(row["image"], caption) for row in rows for caption in _captions(row, path)]


def read_evaluation(path: Path, ground_truth: Path | None) -> EvaluationList:
    """The images of a list with what they are to be compared with.

    Args:
        path: The list.
        ground_truth: A file in COCO's format with the references of these images, in place of the list's own captions.

    Raises:
        ValueError: If a file is absent or of another layout, two rows have one id, only some have captions or a
            domain, or the ground truth is of other images.
    """
    rows = _read_rows(path)
    ids = _ids(rows)
    if doubled := [f"{image!r} ({count} times)" for image, count in Counter(ids).items() if count > 1]:
        raise ValueError(
            f"{len(doubled)} images come more than once in {path} (first: {doubled[0]}); expected one row an image, "
            "with all its captions in a list."
        )
    if ground_truth is None:
        references = _of_all({i: _captions(row, path) for i, row in zip(ids, rows, strict=True)}, "captions", path)
        domains = _of_all({i: row.get("domain") for i, row in zip(ids, rows, strict=True)}, "a domain", path)
    else:
        truth = read_ground_truth(ground_truth)
        _check_same(ids, truth.references, path, ground_truth)
        references = {i: truth.references[i] for i in ids}
        domains = _of_all({i: truth.domains.get(i) for i in ids}, "a domain", ground_truth)
    return EvaluationList([row["image"] for row in rows], ids, references, domains)


def _read_rows(path: Path) -> list[dict]:
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise ValueError(
            f'{path} is no list of rows {{"image": PATH, "caption": ...}}; `lavis-tldr data convert` makes it.'
        )
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get("image"), str):
            raise ValueError(f"row {number} of {path} is {str(row)[:80]}; expected an object with an image path.")
    return rows


def _captions(row: Mapping, path: Path) -> list[str]:
    captions = row.get("caption", [])
    captions = [captions] if isinstance(captions, str) else captions
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise ValueError(f"{path}: {row['image']} has the caption {captions!r}; expected a text or a list of texts.")
    return captions


def _ids(rows: list[dict]) -> list[int | str]:
    given = [next((row[name] for name in _IDS if name in row), None) for row in rows]
    if all(isinstance(image, int) and not isinstance(image, bool) for image in given):
        return given
    numbered = [_NUMBERED.fullmatch(Path(row["image"]).stem) for row in rows]
    if all(numbered):
        return [int(found[1]) for found in numbered]
    return [row["image"] for row in rows]


def _of_all(values: dict, what: str, path: Path) -> dict | None:
    """The values if all are there, None if none is."""
    without = [image for image, value in values.items() if not value]
    if len(without) == len(values):
        return None
    if without:
        raise ValueError(f"{len(without)} of {len(values)} images of {path} lack {what} (first: {without[0]!r}).")
    return values


def _check_same(ids: list, references: Mapping, path: Path, ground_truth: Path) -> None:
    listed = set(ids)
    for lacking, having, images in (
        (ground_truth, path, [image for image in ids if image not in references]),
        (path, ground_truth, [image for image in references if image not in listed]),
    ):
        if images:
            raise ValueError(f"{lacking} lacks {len(images)} images of {having} (first: {images[0]!r}).")
