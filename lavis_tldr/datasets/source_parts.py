"""``tldr_source``: the set to reduce, read part by part.

datasets:
  tldr_source:
    source: {format: webdataset, tars: "pool/{00000..00007}.tar"}
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder
from omegaconf import OmegaConf
from torch import Tensor
from torch.utils.data import Dataset

from lavis_tldr.config_keys import check_dataset_keys
from lavis_tldr.sources import ImageLocation, Source, build_source, decode_image, read_image_bytes

_CONFIG = Path(__file__).parent.parent / "configs" / "datasets" / "tldr_source.yaml"


@dataclass(frozen=True)
class LoadedImage:
    """An image that was to be loaded: ``pixels`` (3, H, W), or None and the ``error`` that says why."""

    key: str
    pixels: Tensor | None
    error: str


@dataclass(frozen=True)
class LoadedBatch:
    """Images that were to be loaded together.

    Their pixels are one tensor: loader processes hand every tensor over by a file descriptor of its own, and a tensor
    an image would use up those that a process may have.

    Attributes:
        keys: Of the images that were read, B of them.
        pixels: (B, 3, H, W); None where B is 0.
        errors: Why each of the others can't be read, by key.
    """

    keys: list[str]
    pixels: Tensor | None
    errors: dict[str, str]

    def __len__(self) -> int:
        """How many images were asked for."""
        return len(self.keys) + len(self.errors)

    def pin_memory(self) -> "LoadedBatch":
        """The batch in memory that a GPU copies from by itself; a loader calls it."""
        return LoadedBatch(self.keys, None if self.pixels is None else self.pixels.pin_memory(), self.errors)


def join_images(images: Sequence[LoadedImage]) -> LoadedBatch:
    """One batch of images, in their order."""
    read, errors = [], {}
    for image in images:
        if image.error:
            errors[image.key] = image.error
        else:
            read.append(image)
    pixels = torch.stack([image.pixels for image in read]) if read else None
    return LoadedBatch([image.key for image in read], pixels, errors)


class LocatedImages(Dataset):
    """Images by key and place: a loader asks for ``(key, ImageLocation)``, so no list of them all is needed."""

    def __init__(self, vis_processor: Callable):
        self.vis_processor = vis_processor

    def __getitem__(self, wanted: tuple[str, ImageLocation]) -> LoadedImage:
        key, location = wanted
        try:
            return LoadedImage(key, self.vis_processor(decode_image(read_image_bytes(location))), "")
        except (ValueError, OSError) as error:
            return LoadedImage(key, None, str(error))


class SourceParts:
    """A source with the image processor that it is encoded with.

    Args:
        source: The image-text pairs.
        vis_processor: Maps a PIL image to a tensor, (3, H, W).
        processor_config: What the processor was built from, as plain values: codes depend on it.
    """

    def __init__(self, source: Source, vis_processor: Callable, processor_config: dict):
        self.source, self.vis_processor, self.processor_config = source, vis_processor, processor_config


@registry.register_builder("tldr_source")
class SourcePartsBuilder(BaseDatasetBuilder):
    """Opens the source under ``source``; its only split is ``train``."""

    DATASET_CONFIG_DICT = {"default": str(_CONFIG)}

    def _download_data(self) -> None:
        """Sources are read where they lie."""

    def build(self) -> dict[str, SourceParts]:
        check_dataset_keys("tldr_source", self.config, OmegaConf.load(_CONFIG).datasets.tldr_source)
        self.build_processors()
        source = build_source(OmegaConf.to_container(self.config.source, resolve=True))
        processor_config = OmegaConf.to_container(self.config.vis_processor.eval, resolve=True)
        return {"train": SourceParts(source, self.vis_processors["eval"], processor_config)}
