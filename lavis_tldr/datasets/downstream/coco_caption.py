"""COCO captioning (Karpathy's split): LAVIS's lists and the ground truth in COCO's format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lavis_tldr.datasets.downstream.coco import IMAGES, SPLIT
from lavis_tldr.datasets.downstream.json_files import write_json
from lavis_tldr.datasets.downstream.karpathy import ARCHIVE, KarpathyImage, images_of, split_sizes
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile


def convert(folder: Path) -> list[str]:
    """Make the lists and the ground truth of ``dataset_coco.json``.

    Raises:
        ValueError: If it is absent, of another set or layout, an image has no captions, or a split is empty.
    """
    images = SPLIT.read(folder)
    if bare := [image.file for image in images if not image.captions]:
        raise ValueError(f"{bare[0]} of {folder / SPLIT.file} has no captions.")
    lists = {split: SPLIT.rows(images, split) for split in ("train", "val", "test")}
    if empty := [split for split, rows in lists.items() if not rows]:
        raise ValueError(f"{folder / SPLIT.file} has no image of the split {empty[0]}.")
    told = [f"{SPLIT.file}: {split_sizes(images)} images; restval is trained on."]
    for split, rows in lists.items():
        write_json(folder / f"coco_karpathy_{split}.json", rows)
        told.append(f"coco_karpathy_{split}.json: {len(rows):,} {'captions' if split == 'train' else 'images'}.")
    for split in ("val", "test"):
        truth = ground_truth(images_of(images, split))
        write_json(folder / f"coco_karpathy_{split}_gt.json", truth)
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
        NeededFile(SPLIT.file, "Karpathy's splits and captions of COCO", ARCHIVE),
        NeededFile("images/train2014/*.jpg", "COCO's photos of train2014 (a link to coco's will do)", IMAGES),
        NeededFile("images/val2014/*.jpg", "COCO's photos of val2014, val and test among them", IMAGES),
        *(
            NeededFile(f"coco_karpathy_{split}.json", f"LAVIS's list of {split}", ARCHIVE, made=True)
            for split in ("train", "val", "test")
        ),
        *(
            NeededFile(
                f"coco_karpathy_{split}_gt.json", f"the captions of {split} in COCO's format", ARCHIVE, made=True
            )
            for split in ("val", "test")
        ),
    ),
    convert=convert,
)
