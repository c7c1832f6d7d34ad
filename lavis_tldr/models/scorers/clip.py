"""CLIP as a scorer: it embeds, and can't read an image and a text together."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from lavis.models.clip_models.model import CLIP
from torch import Tensor

from lavis_tldr.models.clip_tokenizers import BPETokenizer
from lavis_tldr.models.contrastive_clip import ContrastiveClip
from lavis_tldr.models.given_features import with_image
from lavis_tldr.models.scorers.precision import full_precision
from lavis_tldr.models.scorers.scorer import ImageTextScorer, ReadImages


class ClipScorer(ImageTextScorer):
    """LAVIS's ``clip``, or ``clip_pretrain`` with whatever towers; in float32 under autocast too.

    Differs from stock ``clip``: a text that is cut keeps its end token (see `BPETokenizer`).

    Args:
        model: In eval mode.
    """

    def __init__(self, model: CLIP):
        self.embeds, self.matches = True, False
        self.model = model
        self._tokenize = model.tokenizer if isinstance(model, ContrastiveClip) else BPETokenizer(model.context_length)

    def embed_images(self, samples: Mapping[str, Any]) -> Tensor:
        images = with_image(samples)["image"].to(self.device)
        with full_precision(self.device):
            return F.normalize(self.model.encode_image(images).float(), dim=-1)

    def embed_texts(self, texts: list[str]) -> Tensor:
        with full_precision(self.device):
            return F.normalize(self.model.encode_text(self._tokenize(texts).to(self.device)).float(), dim=-1)

    def read_images(self, samples: Mapping[str, Any]) -> ReadImages:
        raise self._no_matching()

    def match_pairs(self, images: ReadImages, texts: list[str]) -> Tensor:
        raise self._no_matching()

    def _no_matching(self) -> ValueError:
        return ValueError(
            f"{type(self.model).__name__} has two separate towers: it can't read an image and a text together. "
            "Compare their embeddings, or take a BLIP or a ViLT."
        )
