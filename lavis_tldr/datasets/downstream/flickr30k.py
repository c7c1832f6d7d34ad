"""Flickr30k's retrieval: 1,000 images to test on, by Karpathy's split."""

from pathlib import Path

from lavis_tldr.datasets.downstream.coco import KARPATHY
from lavis_tldr.datasets.downstream.karpathy_retrieval import convert_karpathy
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile

IMAGES = "https://shannon.cs.illinois.edu/DenotationGraph/"
_LISTS = {split: f"annotations/flickr30k_{split}.json" for split in ("train", "val", "test")}
_PUBLISHED = {"train": 29_000, "val": 1_014, "test": 1_000}


def convert(folder: Path) -> list[str]:
    """See `convert_karpathy`."""
    return convert_karpathy(
        folder,
        "flickr30k",
        _LISTS,
        _PUBLISHED,
        path_of=lambda image: f"flickr30k-images/{image['filename']}",
        id_of=lambda image: image["imgid"],
    )


FLICKR30K = DownstreamSet(
    name="flickr30k",
    title="Flickr30k retrieval 1K (Karpathy)",
    terms="for research and education, on a form; images under the terms of Flickr",
    files=(
        NeededFile("dataset_flickr30k.json", "Karpathy's split and captions", KARPATHY),
        NeededFile("images/flickr30k-images/*.jpg", "31,783 images", IMAGES),
        *(
            NeededFile(path, f"captions of {split}, as LAVIS reads them", KARPATHY, True)
            for split, path in _LISTS.items()
        ),
    ),
    convert=convert,
)
