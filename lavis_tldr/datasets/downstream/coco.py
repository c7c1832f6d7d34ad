"""COCO's retrieval: 5,000 images of val2014 to test on, by Karpathy's split."""

from pathlib import Path

from lavis_tldr.datasets.downstream.karpathy_retrieval import convert_karpathy
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile

KARPATHY = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
IMAGES = "https://cocodataset.org/#download"
_LISTS = {split: f"annotations/coco_karpathy_{split}.json" for split in ("train", "val", "test")}
_PUBLISHED = {"train": 113_287, "val": 5_000, "test": 5_000}  # images; restval is of train


def convert(folder: Path) -> list[str]:
    """See `convert_karpathy`."""
    return convert_karpathy(
        folder,
        "coco",
        _LISTS,
        _PUBLISHED,
        path_of=lambda image: f"{image['filepath']}/{image['filename']}",
        id_of=lambda image: f"coco_{image['cocoid']}",
    )


COCO = DownstreamSet(
    name="coco",
    title="COCO retrieval 5K (Karpathy)",
    terms="annotations CC BY 4.0; images under the terms of Flickr",
    files=(
        NeededFile("dataset_coco.json", "Karpathy's split and captions", KARPATHY),
        NeededFile("images/train2014/*.jpg", "82,783 images, to train on", IMAGES),
        NeededFile("images/val2014/*.jpg", "40,504 images; all of val and test are here", IMAGES),
        *(
            NeededFile(path, f"captions of {split}, as LAVIS reads them", KARPATHY, True)
            for split, path in _LISTS.items()
        ),
    ),
    convert=convert,
)
