"""Images of an evaluation set that gives cached features in their place where it is told to."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from lavis_tldr.datasets.feature_cache import FeatureCache
from lavis_tldr.sources import ImageLocation, decode_image, read_image_bytes


class CachedImages(Dataset):
    """A set whose images all have to be there: what is measured must not depend on what could be read.

    Attributes:
        feature_cache_folder: Where features are kept, or None; set by the builder, read by who has an encoder.

    Args:
        vis_processor: Maps a PIL image to a tensor.
    """

    def __init__(self, vis_processor: Callable):
        self.vis_processor = vis_processor
        self.collater = default_collate
        self.features: FeatureCache | None = None
        self.feature_cache_folder: str | None = None

    def image_places(self) -> Iterator[tuple[str, ImageLocation]]:
        """Key and place of each image."""
        raise NotImplementedError

    def use_features(self, features: FeatureCache) -> None:
        """Give cached features instead of images.

        Raises:
            ValueError: If an image has none.
        """
        if missing := features.missing(key for key, _ in self.image_places()):
            raise ValueError(f"{len(missing)} images can't be read (first: {missing[0]}): restore them.")
        self.features = features

    def look_at(self, key: str, place: ImageLocation) -> dict[str, Tensor]:
        """``image``, (3, H, W), or ``image_features``, (1 + L, D) float32, [CLS] first.

        Raises:
            ValueError: If the image can't be read.
        """
        if self.features is not None:
            return {"image_features": torch.from_numpy(self.features[key].astype(np.float32))}
        try:
            return {"image": self.vis_processor(decode_image(read_image_bytes(place)))}
        except (OSError, ValueError) as error:
            raise ValueError(f"the image {key} can't be read: {error}. Restore it.") from error
