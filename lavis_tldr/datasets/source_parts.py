"""``tldr_source``: the set to reduce, read part by part.

datasets:
  tldr_source:
    source: {format: webdataset, tars: "pool/{00000..00007}.tar"}
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
