"""``tldr_retrieval``: images and their captions of any source, to measure retrieval on both ways.

datasets:
  tldr_retrieval:
    val: {format: lavis_json, annotations: dev.json, image_root: images}
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder
from omegaconf import OmegaConf

from lavis_tldr.config_keys import check_dataset_keys
from lavis_tldr.datasets.cached_images import CachedImages
from lavis_tldr.datasets.caption_pairs import read_items
from lavis_tldr.datasets.pair_index import PairIndex
from lavis_tldr.sources import ImageLocation

_CONFIG = Path(__file__).parent.parent / "configs" / "datasets" / "tldr_retrieval.yaml"


class RetrievalImages(CachedImages):
    """Images in order of their keys; a sample is ``{"image": (3, H, W), "index": int}``.

    Where features were computed before (`use_features`), ``"image_features"``, (1 + L, D) float32, [CLS] first, stands
    in the image's place. The captions are what LAVIS's retrieval looks for on a set:

    Attributes:
        text: Captions of all images, those of the first image first.
        image: Key of each image.
        txt2img: Index of the image of each caption.
        img2txt: Indices of the captions of each image.

    Args:
        items: Key, place and captions of each image.
        vis_processor: Maps a PIL image to a tensor.
        text_processor: Maps a caption to the text that is looked for.
    """

    def __init__(self, items: PairIndex, vis_processor: Callable, text_processor: Callable):
        super().__init__(vis_processor)
        self._places = [place for _, place, _ in items]
        self.image = [key for key, _, _ in items]
        self.text: list[str] = []
        self.txt2img: dict[int, int] = {}
        self.img2txt: dict[int, list[int]] = {}
        for number, (_, _, captions) in enumerate(items):
            first = len(self.text)
            self.text += [text_processor(caption) for caption in captions]
            self.img2txt[number] = list(range(first, len(self.text)))
            self.txt2img.update(dict.fromkeys(self.img2txt[number], number))

    def __len__(self) -> int:
        return len(self.image)

    def image_places(self) -> Iterator[tuple[str, ImageLocation]]:
        """Key and place of each image."""
        return zip(self.image, self._places, strict=True)

    def __getitem__(self, index: int) -> dict:
        return {**self.look_at(self.image[index], self._places[index]), "index": index}


@registry.register_builder("tldr_retrieval")
class RetrievalImagesBuilder(BaseDatasetBuilder):
    """Builds `RetrievalImages` from the sources under ``val`` and ``test``; nothing is downloaded or copied."""

    eval_dataset_cls = RetrievalImages
    DATASET_CONFIG_DICT = {"default": str(_CONFIG)}

    def _download_data(self) -> None:
        """Sources are read where they lie."""

    def build(self) -> dict[str, RetrievalImages]:
        check_dataset_keys("tldr_retrieval", self.config, OmegaConf.load(_CONFIG).datasets.tldr_retrieval)
        self.build_processors()
        datasets = {}
        for split in ("val", "test"):
            if not self.config.get(split):
                continue
            items = read_items(OmegaConf.to_container(self.config[split], resolve=True), by_image=True, all_usable=True)
            if not items:
                raise ValueError(f"datasets.tldr_retrieval.{split}: the source has no usable pair.")
            datasets[split] = RetrievalImages(items, self.vis_processors["eval"], self.text_processors["eval"])
            datasets[split].feature_cache_folder = self.config.feature_cache
        if not datasets:
            raise ValueError("datasets.tldr_retrieval names no source: give val or test one.")
        return datasets
