"""NoCaps (val): LAVIS's list, with the captions and domains that LAVIS leaves to a server."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lavis_tldr.datasets.downstream.coco_truth import read_ground_truth
from lavis_tldr.datasets.downstream.json_files import write_json
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile

_CAPTIONS = "nocaps_val_4500_captions.json"
_LIST = "nocaps_val.json"
_SITE = "https://nocaps.org/download"
DOMAINS = ("in-domain", "near-domain", "out-domain")


def convert(folder: Path) -> list[str]:
    """Make ``nocaps_val.json`` of the official captions.

    A row is LAVIS's ``{"image": "val/NAME.jpg", "img_id": ID}`` with ``caption`` (a list) and ``domain`` besides, which
    LAVIS passes over.

    Raises:
        ValueError: If the file is absent or of another layout, or an image has no caption or an unknown domain.
    """
    path = folder / _CAPTIONS
    truth = read_ground_truth(path)
    rows = []
    for image, captions in truth.references.items():
        domain, file = truth.domains.get(image), truth.files.get(image)
        if domain not in DOMAINS or not file:
            raise ValueError(
                f"image {image} of {path} has the domain {domain!r} and the file {file!r}; expected one of "
                f"{', '.join(DOMAINS)} and a file_name."
            )
        rows.append({"image": f"val/{file}", "img_id": image, "caption": captions, "domain": domain})
    write_json(folder / _LIST, rows)
    counts = Counter(row["domain"] for row in rows)
    return [f"{_LIST}: {len(rows):,} images ({', '.join(f'{domain} {counts[domain]:,}' for domain in DOMAINS)})."]


NOCAPS = DownstreamSet(
    name="nocaps",
    title="NoCaps, val",
    terms="Captions CC BY 2.0 (nocaps.org); the photos are Open Images', CC BY 2.0 each by its author.",
    files=(
        NeededFile(_CAPTIONS, "ten captions and the domain of each of 4,500 images", _SITE),
        NeededFile("images/val/*.jpg", "the 4,500 photos, of Open Images' validation set", _SITE),
        NeededFile(_LIST, "LAVIS's list, with captions and domains", _SITE, made=True),
    ),
    convert=convert,
)
