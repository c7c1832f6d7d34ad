"""``tldr_reduced``: a reduced set, named by its path, as a LAVIS training set.

    datasets:
      tldr_reduced:
        path: reduced            # folder with annotations.json, or that file

The file is read where it lies at every start, never copied to LAVIS's cache: a set that was built again at
the same path is what the next run trains on.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder, load_dataset_config
from lavis.datasets.datasets.image_text_pair_datasets import ImageTextPairDataset

from lavis_tldr.config_keys import check_dataset_keys
from lavis_tldr.datasets.annotations import Annotations
from lavis_tldr.datasets.caption_choice import CHOICES, CaptionChoice
from lavis_tldr.datasets.feature_cache import FeatureCache
from lavis_tldr.datasets.unreadable import UnreadableImages
from lavis_tldr.sources.image_bytes import other_member, read_image_bytes
from lavis_tldr.sources.images import decode_image
from lavis_tldr.sources.record import ImageLocation
from lavis_tldr.sources.table_images import ChangedTableError

MAX_BAD_IMAGES_IN_A_ROW = 100
ON_BAD_IMAGE = ("replace", "raise")


class ReducedPairs(ImageTextPairDataset):
    """Pairs of a reduced set; a sample is ``{"image": (3, H, W) float32, "text_input": str}``.

    Where features were computed before (`use_features`), ``"image_features"``, (1 + L, D) float32, [CLS] first, stands
    in the image's place.

    A pair that the reduction repeats (``repeats`` of its record) counts as often in the set's length, each copy with a
    caption of its own where captions are drawn.

    Args:
        vis_processor: Maps a PIL image to a tensor.
        text_processor: Maps a caption to the text to train on.
        vis_root: Folder that the records' ``image`` counts from.
        ann_paths: One annotation file.
        caption: Which caption to train on, one of :data:`CHOICES` (:class:`CaptionChoice`).
        on_bad_image: "replace" puts the next readable pair of the set in an unreadable one's place; "raise"
            ends the run.

    Raises:
        ValueError: As :class:`Annotations` does. From ``dataset[i]``: for an unreadable image under "raise";
            under "replace" if more than 100 in a row can't be read; always if a tar or a table is not the one
            indexed; where captions are drawn, before the first :meth:`set_epoch`.
    """

    def __init__(self, vis_processor, text_processor, vis_root, ann_paths, caption="refined", on_bad_image="replace"):
        super().__init__(vis_processor, text_processor, vis_root, ann_paths=[])
        (path,) = ann_paths
        self._caption_of = CaptionChoice(caption)
        self.annotation = Annotations(Path(path), self._caption_of)
        self.on_bad_image = on_bad_image
        self.unreadable = UnreadableImages(self.annotation.num_records, "the next pair replaces it")
        self.features: FeatureCache | None = None
        self.feature_cache_folder: str | None = None  # set by the builder; read by who has an encoder

    def set_epoch(self, epoch: int, seed: int) -> None:
        """Say that an epoch begins, for captions that are drawn; workers learn of it, too. `runner_tldr` does so."""
        self._caption_of.set_epoch(epoch, seed)

    def image_places(self) -> Iterator[tuple[str, ImageLocation]]:
        """Key and place of each pair's image."""
        return ((_image_key(record), self._location(record)) for record in self.annotation)

    def use_features(self, features: FeatureCache) -> None:
        """Give cached features instead of images; an image without them counts as unreadable."""
        self.features = features

    def __getitem__(self, index: int) -> dict:
        attempts = min(MAX_BAD_IMAGES_IN_A_ROW + 1, len(self))
        for attempt in range(attempts):
            candidate = (index + attempt) % len(self)
            record, (number, copy) = self.annotation[candidate], self.annotation.place(candidate)
            try:
                image = self._image(record)
            except (StaleTarError, ChangedTableError):
                raise
            except (OSError, ValueError) as error:
                if self.on_bad_image == "raise":
                    raise ValueError(
                        f"{self._where(record)}: {error}. Restore the image, build the set again, or set "
                        "datasets.tldr_reduced.on_bad_image: replace."
                    ) from error
                self.unreadable.meet(number, self._where(record), error)
                last_error = error
                continue
            return {**image, "text_input": self.text_processor(self._caption_of(record, copy))}
        raise ValueError(
            f"{attempts} images in a row can't be read, the last being {self._where(record)}: {last_error}. "
            f"Images are looked for in {self.vis_root}; datasets.tldr_reduced.image_root says where they are."
        )

    def _image(self, record: dict) -> dict[str, torch.Tensor]:
        if self.features is None:
            return {"image": self.vis_processor(decode_image(self._read(record)))}
        key = _image_key(record)
        if key not in self.features:
            raise ValueError("it could not be read when features were computed")
        return {"image_features": torch.from_numpy(self.features[key].astype(np.float32))}

    def _location(self, record: dict) -> ImageLocation:
        if "table" in record:
            table = self.annotation.path.parent / record["table"]
            return ImageLocation.in_table(str(table), record["column"], int(record["row"]), int(record["size"]))
        if "tar" in record:
            tar = self.annotation.path.parent / record["tar"]
            return ImageLocation(str(tar), int(record["offset"]), int(record["size"]))
        return ImageLocation(str(Path(self.vis_root) / record["image"]))

    def _read(self, record: dict) -> bytes:
        location = self._location(record)
        if "tar" in record:
            key = str(record.get("key", ""))
            if found := other_member(location, record["image"], key, key.rpartition("#")[0]):
                raise StaleTarError(
                    f"{location.path} has {found!r} at byte {location.offset}, not {record['image']!r} as indexed: "
                    "the tar has changed since the set was built. Restore it, or run `lavis-tldr reduce` again."
                )
        return read_image_bytes(location)

    def _where(self, record: dict) -> str:
        location = self._location(record)
        return f"image {record['image']} in {location.file}" if location.offset >= 0 else f"image {location.path}"


def _image_key(record: dict) -> str:
    """The source's key of a record's image, which pairs ``KEY#0``, ``KEY#1`` of one image share."""
    key = str(record.get("key") or record["image"])
    image, mark, number = key.rpartition("#")
    return image if mark and number.isdecimal() else key


class StaleTarError(ValueError):
    """A tar no longer holds at the indexed place the member that was indexed."""


@registry.register_builder("tldr_reduced")
class ReducedBuilder(BaseDatasetBuilder):
    """Builds the split "train" of a reduced set from ``path``; see the packaged default for all keys.

    Raises:
        ValueError: From ``build_datasets()``, if the config or the set at ``path`` is unusable.
    """

    train_dataset_cls = ReducedPairs

    DATASET_CONFIG_DICT = {"default": str(Path(__file__).parent.parent / "configs" / "datasets" / "tldr_reduced.yaml")}

    def _download_ann(self) -> None:
        """Nothing is downloaded or copied: a copy could be stale."""

    def _download_vis(self) -> None:
        """Nothing is downloaded or copied."""

    def build(self) -> dict[str, ReducedPairs]:
        self._check_keys()
        annotations = self._annotation_path()
        caption = self.config.get("caption", "refined")
        if caption not in CHOICES:
            raise ValueError(f"datasets.tldr_reduced.caption is {caption!r}; expected one of: {', '.join(CHOICES)}.")
        on_bad_image = self.config.get("on_bad_image", "replace")
        if on_bad_image not in ON_BAD_IMAGE:
            raise ValueError(
                f"datasets.tldr_reduced.on_bad_image is {on_bad_image!r}; expected one of: {', '.join(ON_BAD_IMAGE)}."
            )
        self.build_processors()
        dataset = self.train_dataset_cls(
            vis_processor=self.vis_processors["train"],
            text_processor=self.text_processors["train"],
            vis_root=str(self._image_root(annotations)),
            ann_paths=[str(annotations)],
            caption=caption,
            on_bad_image=on_bad_image,
        )
        if self.config.get("feature_cache"):
            # Cached features are of unaugmented images.
            dataset.vis_processor = self.vis_processors["eval"]
            dataset.feature_cache_folder = self.config.feature_cache
        return {"train": dataset}

    def _check_keys(self) -> None:
        check_dataset_keys("tldr_reduced", self.config, load_dataset_config(self.default_config_path()))

    def _annotation_path(self) -> Path:
        given = str(self.config.get("path") or "")
        if not given:
            raise ValueError(
                "datasets.tldr_reduced has no path. Set it to the folder or annotations.json that "
                "`lavis-tldr reduce` has built."
            )
        path = Path(given).expanduser().absolute()
        if path.is_dir():
            path = path / "annotations.json"
        if not path.is_file():
            raise ValueError(
                f"datasets.tldr_reduced.path: {path} does not exist. Expected the folder or annotations.json "
                "that `lavis-tldr reduce` has built; a relative path counts from the working directory."
            )
        return path

    def _image_root(self, annotations: Path) -> Path:
        given = str(self.config.get("image_root") or "")
        if given:
            root = Path(given).expanduser().absolute()
            if not root.is_dir():
                raise ValueError(f"datasets.tldr_reduced.image_root: {root} is no folder of images.")
            return root
        exported = annotations.parent / "images"
        return exported if exported.is_dir() else annotations.parent
