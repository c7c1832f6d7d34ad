"""What the evaluations ask of a model, whatever its architecture.

Shapes: B images, M texts, P pairs, E embedding width, L tokens of an image, D their width.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class ReadImages:
    """What a model keeps of images to read them together with texts.

    Attributes:
        tokens: (B, L, D).
        mask: Which tokens are the image's, (B, L) bool; None: all.
    """

    tokens: Tensor
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows) -> "ReadImages":
        return ReadImages(self.tokens[rows], None if self.mask is None else self.mask[rows])

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "ReadImages":
        """On another device, tokens in another precision: float16 on the host keeps a gallery in half the memory."""
        return ReadImages(self.tokens.to(device, dtype), None if self.mask is None else self.mask.to(device))

    @staticmethod
    def cat(parts: Iterable["ReadImages"]) -> "ReadImages":
        """One after the other, (B, L, D) with the B of all."""
        parts = list(parts)
        masks = [part.mask for part in parts]
        return ReadImages(torch.cat([p.tokens for p in parts]), None if masks[0] is None else torch.cat(masks))

    def joined(self, count: int) -> "ReadImages":
        """Each ``count`` images as one: a video's frames, (B, L, D) -> (B / count, count L, D)."""
        mask = None if self.mask is None else self.mask.unflatten(0, (-1, count)).flatten(1, 2)
        return ReadImages(self.tokens.unflatten(0, (-1, count)).flatten(1, 2), mask)


class ImageTextScorer(ABC):
    """A model in eval mode that says how well texts fit images.

    It does one of two things or both: ``embeds`` (images and texts in one space: CLIP, BLIP, a ViLT trained with a
    contrastive loss), ``matches`` (reads an image and a text together: BLIP, ViLT).

    Samples are a batch of a dataset: ``image``, (B, 3, H, W), or ``image_features`` where a frozen tower's output was
    cached, and what else the model takes (``pixel_mask``).
    """

    embeds: bool
    matches: bool

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def embed_images(self, samples: Mapping[str, Any]) -> Tensor:
        """Unit embeddings, (B, E) float32."""
        return self.embed_read(self.read_images(samples))

    @abstractmethod
    def embed_texts(self, texts: list[str]) -> Tensor:
        """Unit embeddings, (M, E) float32."""

    @abstractmethod
    def read_images(self, samples: Mapping[str, Any]) -> ReadImages:
        """What `match` reads of images, on the model's device."""

    @abstractmethod
    def match_pairs(self, images: ReadImages, texts: list[str]) -> Tensor:
        """The match logit of each image with the text of its row, (P,) float32. One pass: the caller makes blocks."""

    def embed_read(self, images: ReadImages) -> Tensor:
        """`embed_images` of images read before, by a model that does both."""
        raise NotImplementedError(f"{type(self).__name__} does not both embed and match.")
