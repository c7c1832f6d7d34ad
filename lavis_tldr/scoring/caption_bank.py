"""Captions to borrow: of those that are right of their own images, the ones that fit another image best.

Shapes: N images, B captions in the bank, D and W widths of image and text features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lavis_tldr.scoring.contrastive import ContrastiveScorer

_BLOCK_ROWS = 512  # images compared with the whole bank at once


class CaptionBank:
    """Finds the captions that fit an image best by the contrastive scorer, with heads that never saw the image.

    Args:
        scorer: Fitted.
        captions: B captions, all different.
        texts: Their sentence embeddings, (B, W).

    Raises:
        ValueError: If there is not one embedding a caption.
    """

    def __init__(self, scorer: ContrastiveScorer, captions: Sequence[str], texts: Tensor):
        if len(captions) != len(texts):
            raise ValueError(f"{len(texts)} embeddings for {len(captions)} captions; expected one each.")
        self.captions = list(captions)
        self._scorer = scorer
        self._row = {plain(caption): row for row, caption in enumerate(self.captions)}
        self._embedded = [[model.embed_bank(texts) for model in models] for models in scorer.rounds[1:]]

    def __len__(self) -> int:
        return len(self.captions)

    @torch.no_grad()
    def nearest(self, keys: Sequence[str], images: Tensor, originals: Sequence[str], number: int) -> list[list[str]]:
        """The captions of highest score for each image, best first; of equal scores the earlier in the bank.

        Args:
            keys: Keys of the N images.
            images: Their features as the scorer takes them, (N, D).
            originals: A caption of each image that is not to be borrowed: it is there already.
            number: How many, fewer where the bank is smaller.
        """
        found = []
        for start in range(0, len(keys), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            scores = self.scores(keys[rows], images[rows])
            for i, original in enumerate(originals[rows]):
                if (own := self._row.get(plain(original))) is not None:
                    scores[i, own] = float("-inf")
            # Stable, unlike topk, so that equal scores fall the same everywhere.
            order = scores.sort(dim=1, descending=True, stable=True)
            for values, indices in zip(order.values[:, :number], order.indices[:, :number], strict=True):
                found.append([self.captions[j] for v, j in zip(values, indices.tolist(), strict=True) if v.isfinite()])
        return found

    def scores(self, keys: Sequence[str], images: Tensor) -> Tensor:
        """The score of each image with each caption, (N, B), as `ContrastiveScorer` gives it pair by pair."""
        images = self._scorer.standardized(images.clone())
        total = torch.zeros(len(keys), len(self))
        for number, (models, banks) in enumerate(zip(self._scorer.rounds[1:], self._embedded, strict=True), start=1):
            folds = torch.from_numpy(self._scorer.folds(list(keys), number))
            for fold, (model, bank) in enumerate(zip(models, banks, strict=True)):
                rows = (folds == fold).nonzero()[:, 0]
                total[rows] += model.score_bank(images[rows], bank)
        return total / len(self._embedded)


def plain(caption: str) -> str:
    """What two captions that say the same in the same words have in common."""
    return " ".join(caption.lower().split()).rstrip(" .")
