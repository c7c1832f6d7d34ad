"""COCO's retrieval: 5,000 images of val2014 to test on, by Karpathy's split."""

from pathlib import Path

from lavis_tldr.datasets.downstream.karpathy import ARCHIVE, KarpathySet
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile

IMAGES = "https://cocodataset.org/#download"
_LISTS = {split: f"annotations/coco_karpathy_{split}.json" for split in ("train", "val", "test")}
_PUBLISHED = {"train": 113_287, "val": 5_000, "test": 5_000}  # images; restval is of train


SPLIT = KarpathySet("coco", path_of=lambda row: f"{row['filepath']}/{row['filename']}", id_of="coco_{}".format)


def convert(folder: Path) -> list[str]:
    """See `KarpathySet.convert`."""
    return SPLIT.convert(folder, _LISTS, _PUBLISHED)


COCO = DownstreamSet(
    name="coco",
    title="COCO retrieval 5K (Karpathy)",
    terms="annotations CC BY 4.0; images under the terms of Flickr",
    files=(
        NeededFile(SPLIT.file, "Karpathy's split and captions", ARCHIVE),
        NeededFile("images/train2014/*.jpg", "82,783 images, to train on", IMAGES),
        NeededFile("images/val2014/*.jpg", "40,504 images; all of val and test are here", IMAGES),
        *(
            NeededFile(path, f"captions of {split}, as LAVIS reads them", ARCHIVE, True)
            for split, path in _LISTS.items()
        ),
    ),
    convert=convert,
)
