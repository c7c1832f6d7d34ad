"""What is kept of images by a captioner whose codes are still, computed once and held in memory.

Shapes: N images, L codes an image, D encoder width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from lavis_tldr.models.image_encoding import ImageEncoding


class EncodingCache:
    """`ImageEncoding` by image key, in 2 L + 4 D bytes an image.

    Args:
        blocks: Keys of some images, and what is kept of them.
    """

    def __init__(self, blocks: Iterable[tuple[Sequence[str], ImageEncoding]]):
        self._row: dict[str, int] = {}
        codes, pooled = [], []
        for keys, images in blocks:
            self._row.update(zip(keys, range(len(self._row), len(self._row) + len(keys)), strict=True))
            codes.append(images.codes.cpu().numpy().astype(np.uint16))
            pooled.append(images.pooled.cpu().half().numpy())
        self._codes, self._pooled = np.concatenate(codes), np.concatenate(pooled)

    def __getitem__(self, key: str) -> ImageEncoding:
        """Of one image."""
        row = self._row[key]
        codes = torch.from_numpy(self._codes[row : row + 1].astype(np.int64))
        return ImageEncoding(codes, torch.from_numpy(self._pooled[row : row + 1].astype(np.float32)))
