"""``tldr_zero_shot``: images in a folder a class, by ImageNet's wnids, to classify without training.

datasets:
  tldr_zero_shot:
    set: imagenet_a
    root: /data/imagenet-a
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder
from omegaconf import OmegaConf

from lavis_tldr.config_keys import check_dataset_keys
from lavis_tldr.datasets.cached_images import CachedImages
from lavis_tldr.datasets.imagenet_classes import ImagenetClasses, all_wnids, classes_of
from lavis_tldr.sources import ImageLocation
from lavis_tldr.sources.images import FILE_SUFFIXES

logger = logging.getLogger(__name__)

_CONFIG = Path(__file__).parent.parent / "configs" / "datasets" / "tldr_zero_shot.yaml"
_SUFFIXES = {*FILE_SUFFIXES, ".jpeg"}


class ClassFolders(CachedImages):
    """Images in order of class and name; a sample is ``{"image": (3, H, W), "label": int, "index": int}``.

    The label is the class's number among ImageNet's 1,000, whatever folders there are. (LAVIS's ``imagenet`` counts the
    folders that it finds, which is the same for all 1,000 alone.)

    With cached features ``"image_features"``, (1 + L, D), stands in the image's place.

    Attributes:
        classes: Of the set, with or without a folder.
        images: Path of each image from the root.
        labels: Number of each image's class.

    Args:
        root: The folder, with ``<wnid>/<image>`` or ``val/<wnid>/<image>`` in it.
        classes: See above.
        vis_processor: Maps a PIL image to a tensor.

    Raises:
        ValueError: If there is no image, or a folder that is no class of the set.
    """

    def __init__(self, root: Path, classes: ImagenetClasses, vis_processor: Callable):
        self.root = root / "val" if (root / "val").is_dir() else root
        super().__init__(vis_processor)
        self.classes = classes
        self.images: list[str] = []
        self.labels: list[int] = []
        number_of = dict(zip(classes.wnids, classes.numbers, strict=True))
        folders = _class_folders(self.root)
        if strange := [folder.name for folder in folders if folder.name not in number_of]:
            known = "a class of another set (datasets.tldr_zero_shot.set)" if strange[0] in all_wnids() else "no wnid"
            raise ValueError(
                f"{self.root} has {len(strange)} folders that are none of the set's {len(number_of)} classes (first: "
                f"{strange[0]}, {known}): its images would count as wrong. Remove them, or name the set they are of."
            )
        num_others = 0
        for folder in folders:
            files = sorted(file for file in folder.iterdir() if file.is_file())
            images = [file for file in files if file.suffix.lower() in _SUFFIXES]
            num_others += len(files) - len(images)
            self.images += [str(file.relative_to(self.root)) for file in images]
            self.labels += [number_of[folder.name]] * len(images)
        if not self.images:
            raise ValueError(
                f"{self.root} has no images in folders named by wnid (n01440764/...). ImageNet's validation tar is "
                "flat: sort it into a folder a class first."
            )
        logger.info("%d images of %d classes in %s", len(self), len(set(self.labels)), self.root)
        if num_others:
            logger.warning("%d files in its folders are no images, and left out", num_others)
        if absent := len(number_of) - len(set(self.labels)):
            logger.warning("%d of the set's %d classes have no image: figures are of a part", absent, len(number_of))

    def __len__(self) -> int:
        return len(self.images)

    def image_places(self) -> Iterator[tuple[str, ImageLocation]]:
        """Key and place of each image; the key is its path from the root."""
        return map(self._place, self.images)

    def _place(self, image: str) -> tuple[str, ImageLocation]:
        return image, ImageLocation(str(self.root / image))

    def __getitem__(self, index: int) -> dict:
        return {**self.look_at(*self._place(self.images[index])), "label": self.labels[index], "index": index}


def _class_folders(root: Path) -> list[Path]:
    """Folders below the root; files there (ImageNet-A and -R have a README) and what is hidden are none."""
    if not root.is_dir():
        raise ValueError(f"datasets.tldr_zero_shot.root: there is no folder {root}.")
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


@registry.register_builder("tldr_zero_shot")
class ClassFoldersBuilder(BaseDatasetBuilder):
    """Builds `ClassFolders` as the split ``val``; nothing is downloaded or copied."""

    eval_dataset_cls = ClassFolders
    DATASET_CONFIG_DICT = {"default": str(_CONFIG)}

    def _download_data(self) -> None:
        """Images are read where they lie."""

    def build(self) -> dict[str, ClassFolders]:
        check_dataset_keys("tldr_zero_shot", self.config, OmegaConf.load(_CONFIG).datasets.tldr_zero_shot)
        classes = classes_of(str(self.config.set))
        if not self.config.root:
            raise ValueError("datasets.tldr_zero_shot.root is missing: name the folder of the images.")
        self.build_processors()
        root = Path(self.config.root).expanduser()
        images = ClassFolders(root, classes, self.vis_processors["eval"])
        images.feature_cache_folder = self.config.feature_cache
        return {"val": images}
