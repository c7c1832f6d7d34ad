"""Flickr30k's retrieval: 1,000 images to test on, by Karpathy's split."""

from pathlib import Path

from lavis_tldr.datasets.downstream.karpathy import ARCHIVE, KarpathySet
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile

IMAGES = "https://shannon.cs.illinois.edu/DenotationGraph/"
_LISTS = {split: f"annotations/flickr30k_{split}.json" for split in ("train", "val", "test")}
_PUBLISHED = {"train": 29_000, "val": 1_014, "test": 1_000}
SPLIT = KarpathySet("flickr30k", path_of=lambda row: f"flickr30k-images/{row['filename']}", id_of=int)


def convert(folder: Path) -> list[str]:
    """See `KarpathySet.convert`."""
    return SPLIT.convert(folder, _LISTS, _PUBLISHED)


FLICKR30K = DownstreamSet(
    name="flickr30k",
    title="Flickr30k retrieval 1K (Karpathy)",
    terms="for research and education, on a form; images under the terms of Flickr",
    files=(
        NeededFile(SPLIT.file, "Karpathy's split and captions", ARCHIVE),
        NeededFile("images/flickr30k-images/*.jpg", "31,783 images", IMAGES),
        *(
            NeededFile(path, f"captions of {split}, as LAVIS reads them", ARCHIVE, True)
            for split, path in _LISTS.items()
        ),
    ),
    convert=convert,
)
