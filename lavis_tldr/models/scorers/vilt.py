"""ViLT as a scorer: it matches, and embeds where it was trained with a contrastive loss."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lavis_tldr.models.scorers.precision import full_precision
from lavis_tldr.models.scorers.scorer import ImageTextScorer, ReadImages
from lavis_tldr.models.scorers.token_rows import TokenRows
from lavis_tldr.models.vilt.pretrain import ViltPretrain
from lavis_tldr.models.vilt.scoring import PairScorer


class ViltScorer(ImageTextScorer):
    """``vilt_pretrain``, ``vilt_retrieval`` or ``vilt_classification``.

    Under autocast the one stream follows it; heads are in float32.

    Args:
        model: In eval mode.
    """

    def __init__(self, model: ViltPretrain | PairScorer):
        self.embeds, self.matches = getattr(model, "itc", None) is not None, True
        self.model = model
        self._tokens = TokenRows(self._encode, model.tokenizer.pad)

    def embed_read(self, images: ReadImages) -> Tensor:
        """`embed_images` of images read before."""
        self._require_contrast()
        return self.model.itc_image(images.tokens, images.mask).float()

    def embed_texts(self, texts: list[str]) -> Tensor:
        self._require_contrast()
        return self.model.itc_text(*self._tokens(texts, self.device)).float()

    def read_images(self, samples: Mapping[str, Any]) -> ReadImages:
        return ReadImages(*self.model.embed_image(samples))

    def match_pairs(self, images: ReadImages, texts: list[str]) -> Tensor:
        ids, text_mask = self._tokens(texts, self.device)
        _, pooled = self.model.vilt(ids, text_mask, images.tokens, images.mask)
        with full_precision(self.device):
            pooled = pooled.float()
            if isinstance(self.model, PairScorer):
                return self.model.rank_output(pooled)[:, 0]
            return self.model.itm_score(pooled)[:, 1]

    def _encode(self, texts: list[str]) -> list[Tensor]:
        ids, mask = self.model.tokenizer.encode_padded(texts, self.model.max_text_length)
        return [row[kept] for row, kept in zip(ids, mask, strict=True)]

    def _require_contrast(self) -> None:
        if not self.embeds:
            raise ValueError(
                f"this {type(self.model).__name__} was built without a contrastive loss: it has no embeddings of "
                "images or texts alone."
            )
