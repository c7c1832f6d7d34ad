"""Image features computed once, before a training whose image encoder stands still."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from lavis.common.dist_utils import is_main_process

from lavis_tldr.datasets.feature_cache import FeatureCache
from lavis_tldr.datasets.image_features import encode_images, encoder_fingerprint
from lavis_tldr.datasets.unreadable import LIST
from lavis_tldr.environment.processor import emulates_bfloat16
from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.collectives import barrier
from lavis_tldr.models.frozen_encoder import FrozenEncoder
from lavis_tldr.sources import ImageLocation


class CachesFeatures(Protocol):
    """A set that can give features instead of images."""

    feature_cache_folder: str | None

    def image_places(self) -> Iterator[tuple[str, ImageLocation]]:
        """Key and place of each image; an image may come several times."""

    def use_features(self, features: FeatureCache) -> None:
        """Give features instead of images from now on."""


def fill_feature_cache(
    model: CodebookCaptioner | FrozenEncoder, datasets: Iterable[CachesFeatures], device: str, num_workers: int
) -> None:
    """Compute the features that the datasets' caches lack, and let the datasets use them.

    Raises:
        ValueError: If the encoder is trainable, since features would go stale, or two images have one key.
    """
    cached = [dataset for dataset in datasets if dataset.feature_cache_folder]
    _check_keys(cached)
    for dataset in cached:
        if not model.freeze_encoder:
            raise ValueError("feature_cache needs model.freeze_vit: True; a moving encoder makes features stale.")
        fingerprint = encoder_fingerprint(model)
        if is_main_process():
            cache = FeatureCache(dataset.feature_cache_folder, fingerprint)
            _encode_missing(model.to(device).eval(), dataset, cache, num_workers)
        barrier()
        dataset.use_features(FeatureCache(dataset.feature_cache_folder, fingerprint))


class FillsFeatureCaches:
    """Of a LAVIS task whose sets may have a ``feature_cache``: it is filled by the model's image tower."""

    _datasets: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

    def build_datasets(self, cfg) -> dict[str, dict]:
        self._datasets = super().build_datasets(cfg)
        return self._datasets

    def fill_caches(self, model, run):
        """The model, on the CPU (the runner moves it, and wraps it for its processes), once its sets have features.

        Args:
            model: With a frozen ``visual_encoder``, if a set has a ``feature_cache_folder``.
            run: The ``run`` section.

        Raises:
            ValueError: If the model has no image tower, or as `fill_feature_cache`.
        """
        cached = [part for splits in self._datasets.values() for part in splits.values()]
        cached = [part for part in cached if getattr(part, "feature_cache_folder", None)]
        if cached:
            encoder = getattr(model, "visual_encoder", None)
            if encoder is None:
                raise ValueError(f"feature_cache: {type(model).__name__} has no image tower of its own; leave it out.")
            fill_feature_cache(FrozenEncoder(encoder), cached, str(run.device), int(run.get("num_workers", 0)))
        return model.cpu()


def _check_keys(datasets: list[CachesFeatures]) -> None:
    """The splits share a cache that goes by key, so a key must mean the same image in all of them."""
    places: dict[str, tuple[Path, int]] = {}
    for dataset in datasets:
        for key, location in dataset.image_places():
            place = Path(location.path), location.offset
            if places.setdefault(key, place) != place:
                raise ValueError(
                    f"the image key {key!r} stands for {places[key][0]} in one split and for {place[0]} in another, so "
                    "feature_cache would mix them up. Give one of the sources a key_prefix, or do without the cache."
                )


def _encode_missing(model, dataset: CachesFeatures, cache: FeatureCache, num_workers: int) -> None:
    places = dict(dataset.image_places())
    missing = {key: places[key] for key in cache.missing(places)}
    # Emulated, a minute of float32 would take ten; stored in float16 the two hardly differ.
    in_bf16 = not (model.device.type == "cpu" and emulates_bfloat16())
    options = {"bf16": in_bf16, "num_workers": num_workers, "unreadable_list": cache.folder / LIST}
    for keys, tokens in encode_images(model, missing, dataset.vis_processor, **options):
        cache.add(keys, tokens.numpy())
