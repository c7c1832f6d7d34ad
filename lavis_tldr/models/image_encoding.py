"""What the stage encode keeps of images, and all that the captioner's decoder is given of them.

Shapes: B images, L patch tokens, D encoder width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def pool_tokens(tokens: Tensor) -> Tensor:
    """One feature of each image: the mean of its patch features, and its [CLS] feature, (B, 1 + L, D) -> (B, 2 D).

    What the two say differs: pairs are told right from wrong better by both than by either.
    """
    tokens = tokens.float()
    return torch.cat([tokens[:, 1:].mean(1), tokens[:, 0]], dim=1)


@dataclass(frozen=True)
class ImageEncoding:
    """Codes and pooled features of B images.

    Attributes:
        codes: Code indices of the patches, (B, L), int64.
        pooled: What `pool_tokens` gives, (B, 2 D), floating.
    """

    codes: Tensor
    pooled: Tensor

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows) -> ImageEncoding:
        """Some of the images, by a slice, a mask or indices."""
        return ImageEncoding(self.codes[rows], self.pooled[rows])

    def to(self, device: torch.device | str) -> ImageEncoding:
        return ImageEncoding(self.codes.to(device), self.pooled.to(device))

    def split(self, size: int) -> Iterator[ImageEncoding]:
        """Blocks of at most ``size`` images, in order."""
        return (self[start : start + size] for start in range(0, len(self), size))


def join_encodings(blocks: Sequence[ImageEncoding]) -> ImageEncoding:
    """The images of several blocks, in order; at least one block."""
    return ImageEncoding(torch.cat([block.codes for block in blocks]), torch.cat([block.pooled for block in blocks]))
