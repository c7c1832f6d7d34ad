"""COCO captioning (Karpathy's split): LAVIS's lists and the ground truth in COCO's format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lavis_tldr.datasets.downstream.karpathy import (
    KarpathyImage,
    evaluation_rows,
    read_karpathy,
    split_sizes,
    training_rows,
    write_list,
)
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile

_SPLIT_FILE = "dataset_coco.json"
_SPLITS = "https://cs.stanford.edu/people/karpathy/deepimagesent/"
_IMAGES = "https://cocodataset.org/#download"


def convert(folder: Path) -> list[str]:
    """Make the lists and the ground truth of ``dataset_coco.json``.

    Raises:
        ValueError: If it is absent, of another layout or of Flickr30K, or a split is empty.
    """
    images = read_karpathy(folder / _SPLIT_FILE)
    if strange := [image.file for image in images if "/" not in image.file]:
        raise ValueError(f"{folder / _SPLIT_FILE} has images without a folder ({strange[0]}); is it Flickr30K's?")
    lists: dict[str, list | dict] = {"train": training_rows(images)}
    truths = {}
    for split in ("val", "test"):
        lists[split] = evaluation_rows(images, split)
        truths[split] = ground_truth(image for image in images if image.split == split)
    if empty := [split for split, rows in lists.items() if not rows]:
        raise ValueError(f"{folder / _SPLIT_FILE} has no image of the split {empty[0]}.")
    told = [f"{_SPLIT_FILE}: {split_sizes(images)} images; restval is trained on."]
    for split, rows in lists.items():
        write_list(folder / f"coco_karpathy_{split}.json", rows)
        told.append(f"coco_karpathy_{split}.json: {len(rows):,} {'captions' if split == 'train' else 'images'}.")
    for split, truth in truths.items():
        write_list(folder / f"coco_karpathy_{split}_gt.json", truth)
        told.append(f"coco_karpathy_{split}_gt.json: {len(truth['annotations']):,} captions.")
    return told


def ground_truth(images: Iterable[KarpathyImage]) -> dict:
    """What COCO's evaluation takes for ground truth: ``images`` and ``annotations``, numbered from 1."""
    images = list(images)
    captions = [(image.number, caption) for image in images for caption in image.captions]
    return {
        "images": [{"id": image.number} for image in images],
        "annotations": [
            {"id": number, "image_id": image, "caption": caption}
            for number, (image, caption) in enumerate(captions, start=1)
        ],
    }


COCO_CAPTION = DownstreamSet(
    name="coco-caption",
    title="COCO captioning, Karpathy's split",
    terms="Captions CC BY 4.0 (COCO); the photos are Flickr users', under the terms they chose.",
    files=(
        NeededFile(_SPLIT_FILE, "Karpathy's splits and captions of COCO", _SPLITS),
        NeededFile("images/train2014/*.jpg", "COCO's photos of train2014 (a link to coco's will do)", _IMAGES),
        NeededFile("images/val2014/*.jpg", "COCO's photos of val2014, val and test among them", _IMAGES),
        *(
            NeededFile(f"coco_karpathy_{split}.json", f"LAVIS's list of {split}", _SPLITS, made=True)
            for split in ("train", "val", "test")
        ),
        *(
            NeededFile(
                f"coco_karpathy_{split}_gt.json", f"the captions of {split} in COCO's format", _SPLITS, made=True
            )
            for split in ("val", "test")
        ),
    ),
    convert=convert,
)
