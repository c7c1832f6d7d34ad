"""``tldr_grounding``: sentences that refer to a box of an image each, and the boxes to choose from.

datasets:
  tldr_grounding: {path: data/refcoco+, split: val}

Lists are those of `lavis_tldr.datasets.downstream.refcoco.convert`.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder
from omegaconf import OmegaConf
from PIL import Image
from torch.utils.data import Dataset

from lavis_tldr.config_keys import check_dataset_keys
from lavis_tldr.datasets.downstream.refcoco import SPLITS, annotation_file
from lavis_tldr.datasets.sample_lists import as_list
from lavis_tldr.sources import decode_image
from lavis_tldr.user_errors import closest

_CONFIG = Path(__file__).parent.parent / "configs" / "datasets" / "tldr_grounding.yaml"

Box = list[float]  # x, y, width, height in pixels


@dataclass(frozen=True)
class Sentence:
    """An expression.

    Attributes:
        sent_id: Of the set.
        text: What it says.
        target: Place of the box that it refers to, among the image's.
    """

    sent_id: int
    text: str
    target: int


@dataclass(frozen=True)
class GroundedImage:
    """An image with its sentences.

    Attributes:
        image: Path below the image root.
        boxes: Of all objects that are annotated.
        proposals: Of a detector; None: there is none for the set.
        sentences: About some of the boxes.
    """

    image: str
    boxes: list[Box]
    proposals: list[Box] | None
    sentences: list[Sentence] = field(default_factory=list)

    @property
    def candidates(self) -> list[Box]:
        """The boxes, then the proposals."""
        return [*self.boxes, *(self.proposals or [])]


def read_grounded_images(path: Path, text_processor: Callable[[str], str] = str) -> list[GroundedImage]:
    """The images of a list in the order of their first sentences.

    Raises:
        ValueError: If the list is not there or of another layout, or a sentence is there twice.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: `lavis-tldr data convert refcoco+` makes it from the official files.")
    rows = json.loads(path.read_text(encoding="utf-8"))
    images: dict[str, GroundedImage] = {}
    seen = set()
    for number, row in enumerate(rows):
        try:
            found = GroundedImage(row["image"], row["boxes"], row.get("proposals"))
            sentence = Sentence(row["sent_id"], text_processor(row["text"]), row["target"])
            right = 0 <= sentence.target < len(found.boxes) and all(len(box) == 4 for box in found.candidates)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}: row {number} is of another layout ({error}); expected image, sent_id, text, boxes, target."
            ) from error
        if not right:
            raise ValueError(f"{path}: row {number} has no box number {sentence.target} of x, y, width, height.")
        if sentence.sent_id in seen:
            raise ValueError(f"{path}: sentence {sentence.sent_id} is there twice (row {number}).")
        seen.add(sentence.sent_id)
        known = images.setdefault(found.image, found)
        if (known.boxes, known.proposals) != (found.boxes, found.proposals):
            raise ValueError(f"{path}: row {number} has other boxes of {found.image} than a row before it.")
        known.sentences.append(sentence)
    if not images:
        raise ValueError(f"{path} has no sentences.")
    if len({image.proposals is None for image in images.values()}) > 1:
        raise ValueError(f"{path}: some rows have proposals and some not; convert the set anew.")
    return list(images.values())


def crop(image: Image.Image, box: Box, padding: float) -> Image.Image:
    """What of an image is in a box, of a pixel at least.

    Args:
        image: The whole image.
        box: May reach over the image's edge.
        padding: Share of its width and height by which it is wider on each side.
    """
    x, y, width, height = box
    left = min(max(math.floor(x - padding * width), 0), image.width - 1)
    top = min(max(math.floor(y - padding * height), 0), image.height - 1)
    right = max(min(math.ceil(x + (1 + padding) * width), image.width), left + 1)
    bottom = max(min(math.ceil(y + (1 + padding) * height), image.height), top + 1)
    return image.crop((left, top, right, bottom))


class GroundingImages(Dataset):
    """Images with their boxes and sentences; a sample is one image.

    ``{"index": int, "image": (K, 3, H, W), "size": (height, width)}``: what is in each of its candidates, or, with
    ``whole``, the image itself, K = 1. The size is that of the file. A batch is ``{"samples": [sample, ...]}``.

    Attributes:
        images: All of them.
        whole: Give whole images.

    Args:
        images: See there.
        root: Folder of the images.
        split: Of the set, for messages and results.
        vis_processor: Maps a PIL image to a tensor, of one size.
        crop_padding: See `crop`.

    Raises:
        ValueError: If an image is not there.
    """

    def __init__(
        self,
        images: list[GroundedImage],
        root: Path,
        *,
        split: str,
        vis_processor: Callable,
        crop_padding: float = 0.0,
    ):
        self.images, self.root, self.split = images, root, split
        self.vis_processor, self.crop_padding = vis_processor, crop_padding
        self.whole = False
        self.collater = as_list
        if missing := [image.image for image in images if not (root / image.image).is_file()]:
            raise ValueError(
                f"{len(missing):,} of {len(images):,} images of tldr_grounding are not there (first: "
                f"{root / missing[0]}): what is measured on must be whole. Set datasets.tldr_grounding.image_root."
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        about = self.images[index]
        try:
            image = decode_image((self.root / about.image).read_bytes())
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.root / about.image} can't be read: {error}. Restore it.") from error
        seen = [image] if self.whole else [crop(image, box, self.crop_padding) for box in about.candidates]
        pixels = torch.stack([self.vis_processor(part) for part in seen])  # (K, 3, H, W)
        return {"index": index, "image": pixels, "size": (image.height, image.width)}


@registry.register_builder("tldr_grounding")
class GroundingBuilder(BaseDatasetBuilder):
    """Builds `GroundingImages` of one split of the set, as the run's split "test"; nothing is downloaded or copied."""

    eval_dataset_cls = GroundingImages
    DATASET_CONFIG_DICT = {"default": str(_CONFIG)}

    def _download_data(self) -> None:
        """The set is read where it lies."""

    def build(self) -> dict[str, GroundingImages]:
        cfg = self.config
        check_dataset_keys("tldr_grounding", cfg, OmegaConf.load(_CONFIG).datasets.tldr_grounding)
        if not cfg.path:
            raise ValueError("datasets.tldr_grounding.path is not set: name the folder of RefCOCO+.")
        if cfg.split not in SPLITS:
            raise ValueError(f"datasets.tldr_grounding.split {cfg.split!r} is unknown{closest(cfg.split, SPLITS)}.")
        padding = float(cfg.crop_padding)
        if not 0 <= padding < math.inf:
            raise ValueError(f"datasets.tldr_grounding.crop_padding is {padding}; expected 0 or more.")
        self.build_processors()
        path = Path(cfg.path).expanduser()
        dataset = GroundingImages(
            read_grounded_images(annotation_file(path, cfg.split), self.text_processors["eval"]),
            Path(cfg.image_root or path).expanduser(),
            split=cfg.split,
            vis_processor=self.vis_processors["eval"],
            crop_padding=padding,
        )
        return {"test": dataset}
