"""``tldr_captioning``: images to caption and captions to learn it from, in LAVIS's lists.

datasets:
  tldr_captioning:
    train: {annotations: coco_karpathy_train.json, image_root: images}
    test: {annotations: coco_karpathy_test.json, image_root: images, ground_truth: coco_karpathy_test_gt.json}
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder
from omegaconf import OmegaConf

from lavis_tldr.config_keys import check_dataset_keys
from lavis_tldr.datasets.cached_images import CachedImages
from lavis_tldr.datasets.captioning_lists import CaptionedImage, EvaluationList, read_evaluation, read_training
from lavis_tldr.sources import ImageLocation
from lavis_tldr.user_errors import closest

_CONFIG = Path(__file__).parent.parent / "configs" / "datasets" / "tldr_captioning.yaml"
_SPLIT_KEYS = ("annotations", "image_root", "ground_truth")


class ListedImages(CachedImages):
    """Images of a list, or their cached features: ``{"image": (3, H, W)}`` or ``{"image_features": (1 + L, D)}``.

    Args:
        images: Path below ``root`` of each.
        root: Folder of images.
        vis_processor: Maps a PIL image to a tensor.
    """

    def __init__(self, images: Sequence[str], root: Path, vis_processor: Callable):
        super().__init__(vis_processor)
        self.images, self.root = images, root

    def __len__(self) -> int:
        return len(self.images)

    def image_places(self) -> Iterator[tuple[str, ImageLocation]]:
        """Key and place of each image; the key is its whole path, as splits may have roots of their own."""
        return map(self._place, range(len(self)))

    def _place(self, index: int) -> tuple[str, ImageLocation]:
        path = str(self.root / self.images[index])
        return path, ImageLocation(path)

    def __getitem__(self, index: int) -> dict:
        return self.look_at(*self._place(index))


class CaptionsToLearn(ListedImages):
    """A sample is an image with a caption of its, ``text_input``; an image comes once for each caption.

    Args:
        rows: The captions.
        text_processor: Maps a caption to the text to train on, prompt included.
        others: As `ListedImages` takes them.
    """

    def __init__(self, rows: Sequence[CaptionedImage], text_processor: Callable, **others):
        super().__init__([row.image for row in rows], **others)
        self._captions, self._text_processor = [row.caption for row in rows], text_processor

    def text(self, index: int) -> str:
        """What is trained on of a caption."""
        return self._text_processor(self._captions[index])

    def __getitem__(self, index: int) -> dict:
        return {**super().__getitem__(index), "text_input": self.text(index)}


class ImagesToCaption(ListedImages):
    """A sample is an image with its number, ``index``.

    Args:
        listed: The images, with ids and what is known of them.
        others: As `ListedImages` takes them.

    Attributes:
        listed: As given.
    """

    def __init__(self, listed: EvaluationList, **others):
        super().__init__(listed.images, **others)
        self.listed = listed

    def __getitem__(self, index: int) -> dict:
        return {**super().__getitem__(index), "index": index}


@registry.register_builder("tldr_captioning")
class CaptioningBuilder(BaseDatasetBuilder):
    """Builds `CaptionsToLearn` of ``train``, `ImagesToCaption` of ``val`` and ``test``; nothing is downloaded."""

    train_dataset_cls, eval_dataset_cls = CaptionsToLearn, ImagesToCaption
    DATASET_CONFIG_DICT = {"default": str(_CONFIG)}

    def _download_data(self) -> None:
        """Lists and images are read where they lie."""

    def build(self) -> dict[str, ListedImages]:
        check_dataset_keys("tldr_captioning", self.config, OmegaConf.load(_CONFIG).datasets.tldr_captioning)
        self.build_processors()
        built: dict[str, ListedImages] = {}
        for split in ("train", "val", "test"):
            if not self.config.get(split):
                continue
            built[split] = self._build(split)
            built[split].feature_cache_folder = self.config.feature_cache
        if not built:
            raise ValueError("datasets.tldr_captioning names no list: give train, val or test one.")
        return built

    def _build(self, split: str) -> ListedImages:
        where = f"datasets.tldr_captioning.{split}"
        given = OmegaConf.to_container(self.config[split], resolve=True)
        for key in given:
            if key not in _SPLIT_KEYS:
                raise ValueError(f"unknown key {where}.{key}{closest(key, _SPLIT_KEYS)}.")
        if missing := [key for key in _SPLIT_KEYS[:2] if not given.get(key)]:
            raise ValueError(f"{where} has no {missing[0]}; expected annotations (a list of LAVIS's) and image_root.")
        path, root = Path(given["annotations"]), Path(given["image_root"])
        mode = "eval" if split != "train" or self.config.feature_cache else "train"
        others = {"root": root, "vis_processor": self.vis_processors[mode]}
        if split == "train":
            if given.get("ground_truth"):
                raise ValueError(f"{where}.ground_truth: captions to train on are those of annotations; leave it out.")
            built = CaptionsToLearn(read_training(path), self.text_processors["train"], **others)
        else:
            truth = given.get("ground_truth")
            built = ImagesToCaption(read_evaluation(path, Path(truth) if truth else None), **others)
        _check_there(built, path)
        return built


def _check_there(images: ListedImages, path: Path) -> None:
    wanted = dict.fromkeys(images.images)
    if absent := [image for image in wanted if not (images.root / image).is_file()]:
        raise ValueError(
            f"{len(absent)} of {len(wanted)} images of {path} are not in {images.root} (first: {absent[0]}): put them "
            "there, or mend image_root."
        )
