"""Ground truth of captions in COCO's format, as NoCaps has it too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lavis_tldr.datasets.downstream.json_files import read_json


@dataclass(frozen=True)
class GroundTruth:
    """What such a file tells, by image id.

    Attributes:
        references: Captions of each image, in the file's order.
        domains: Of the images that have one (NoCaps).
        files: ``file_name`` of the images that have one.
    """

    references: dict[int, list[str]]
    domains: dict[int, str]
    files: dict[int, str]


def read_ground_truth(path: Path) -> GroundTruth:
    """Read ``{"images": [{"id"}], "annotations": [{"image_id", "caption"}]}``.

    Raises:
        ValueError: If it is absent or of another layout, an image comes twice or has no caption, or a caption is of no
            image.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise ValueError(
            f'{path} is no ground truth in COCO\'s format: expected {{"images": ..., "annotations": ...}}.'
        )
    truth = GroundTruth({}, {}, {})
    try:
        for image in content["images"]:
            number = image["id"]
            if number in truth.references:
                raise ValueError(f"{path} has image {number} twice.")
            truth.references[number] = []
            for name, known in (("domain", truth.domains), ("file_name", truth.files)):
                if name in image:
                    known[number] = image[name]
        for annotation in content["annotations"]:
            number = annotation["image_id"]
            if number not in truth.references:
                raise ValueError(f"{path} has a caption of image {number}, which is not among its images.")
            truth.references[number].append(annotation["caption"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no ground truth in COCO's format ({error}); expected images with id, annotations with "
            "image_id and caption."
        ) from error
    if bare := [number for number, captions in truth.references.items() if not captions]:
        raise ValueError(f"{path}: {len(bare)} images have no caption (first: {bare[0]}).")
    return truth
