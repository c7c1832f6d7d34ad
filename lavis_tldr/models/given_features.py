"""Samples that bring ``image_features``, what a frozen tower gives for an image, in the image's place."""

from collections.abc import Iterator, Mapping
from typing import Any


def with_image(samples: Mapping[str, Any]) -> Mapping[str, Any]:
    """The samples with what goes into the image tower, or comes out of it, under ``image``."""
    features = samples.get("image_features")
    return samples if features is None else {**samples, "image": features}


class LoaderWithImages:
    """A loader of such samples, for LAVIS's evaluations, which know ``image`` alone."""

    def __init__(self, loader):
        self.loader, self.dataset = loader, loader.dataset

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return map(with_image, self.loader)
