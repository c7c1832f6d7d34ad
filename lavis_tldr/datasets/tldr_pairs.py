"""``tldr_pairs``: a source's pairs as they are, or a random share of them, as a LAVIS training set.

datasets:
  tldr_pairs:
    source: {format: webdataset, tars: "pool/{00000..00007}.tar"}
    share: 0.25              # the random baseline of a reduced set that keeps a quarter
"""

from pathlib import Path

import numpy as np
from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder
from omegaconf import OmegaConf

from lavis_tldr.config_keys import check_dataset_keys
from lavis_tldr.datasets.caption_pairs import CaptionPairs, read_items

_CONFIG = Path(__file__).parent.parent / "configs" / "datasets" / "tldr_pairs.yaml"


class SourcePairs(CaptionPairs):
    """Pairs of a source; a batch is ``{"image": (B, 3, H, W), "text_input": [str] * B, "image_id": [key] * B}``.

    Where features were computed before, ``"image_features"``, (B, 1 + L, D), [CLS] first, stands in the images' place.
    """

    features_name = "image_features"


@registry.register_builder("tldr_pairs")
class SourcePairsBuilder(BaseDatasetBuilder):
    """Builds the split "train" of the source's usable pairs; nothing is downloaded or copied.

    Raises:
        ValueError: From ``build_datasets()``, if the config or the source is unusable.
    """

    train_dataset_cls = SourcePairs
    DATASET_CONFIG_DICT = {"default": str(_CONFIG)}

    def _download_data(self) -> None:
        """Sources are read where they lie."""

    def build(self) -> dict[str, SourcePairs]:
        check_dataset_keys("tldr_pairs", self.config, OmegaConf.load(_CONFIG).datasets.tldr_pairs)
        share = float(self.config.share)
        if not 0 < share <= 1:
            raise ValueError(f"datasets.tldr_pairs.share is {share}; expected a share in (0, 1].")
        self.build_processors()
        items = read_items(OmegaConf.to_container(self.config.source, resolve=True), by_image=False)
        if not items:
            raise ValueError("datasets.tldr_pairs.source has no usable pair.")
        if share < 1:
            # Items are in order of key, so the draw does not depend on the order of files.
            generator = np.random.default_rng(int(self.config.share_seed))
            drawn = generator.choice(len(items), max(round(share * len(items)), 1), replace=False)
            items = items.take(np.sort(drawn))
        # Cached features are of unaugmented images.
        vis_processor = self.vis_processors["eval" if self.config.feature_cache else "train"]
        dataset = SourcePairs(items, vis_processor, self.text_processors["train"], captions_per_image=1)
        dataset.feature_cache_folder = self.config.feature_cache
        return {"train": dataset}
