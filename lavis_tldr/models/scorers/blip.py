"""BLIP as a scorer: it embeds by its contrastive projections, and matches by its matching head.

Shapes: B images, M texts, P pairs, T tokens of a text, L of an image, D width.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lavis.models.blip_models.blip_image_text_matching import BlipITM
from lavis.models.blip_models.blip_pretrain import BlipPretrain
from lavis.models.blip_models.blip_retrieval import BlipRetrieval
from torch import Tensor

from lavis_tldr.models.given_features import with_image
from lavis_tldr.models.scorers.precision import full_precision
from lavis_tldr.models.scorers.scorer import ImageTextScorer, ReadImages
from lavis_tldr.models.scorers.token_rows import TokenRows

BlipModel = BlipRetrieval | BlipITM | BlipPretrain
_TEXT_LENGTH = 35  # tokens; BLIP's evaluation has as many, whatever it was trained with


class BlipScorer(ImageTextScorer):
    """``blip_retrieval``, ``blip_image_text_matching``, ``blip_pretrain`` or ``blip_pretrain_tldr``.

    Texts are cut to 35 tokens, or to the model's ``max_txt_len`` where that is more. Under autocast the towers follow
    it; projections and matching head are in float32.

    Args:
        model: In eval mode.
    """

    def __init__(self, model: BlipModel):
        self.embeds = self.matches = True
        self.model = model
        self.text_length = max(_TEXT_LENGTH, model.max_txt_len)
        self._tokens = TokenRows(self._encode, model.tokenizer.pad_token_id)

    def embed_read(self, images: ReadImages) -> Tensor:
        """`embed_images` of images read before."""
        return F.normalize(self.project_read(images), dim=-1)

    def project_read(self, images: ReadImages) -> Tensor:
        """`embed_read` before it is scaled to length 1, (B, E) float32."""
        with full_precision(self.device):
            return self.model.vision_proj(images.tokens[:, 0].float())

    def embed_texts(self, texts: list[str]) -> Tensor:
        ids, mask = self._tokens(texts, self.device)
        hidden = self.model.text_encoder(ids, attention_mask=mask, return_dict=True, mode="text").last_hidden_state
        with full_precision(self.device):
            return F.normalize(self.model.text_proj(hidden[:, 0].float()), dim=-1)

    def read_images(self, samples: Mapping[str, Any]) -> ReadImages:
        images = with_image(samples)["image"].to(self.device)
        return ReadImages(self.model.visual_encoder.forward_features(images))

    def match_pairs(self, images: ReadImages, texts: list[str]) -> Tensor:
        ids, text_mask = self._tokens(texts, self.device)
        ids[:, 0] = self.model.tokenizer.enc_token_id
        mask = images.mask
        hidden = self.model.text_encoder(
            ids,
            attention_mask=text_mask,
            encoder_hidden_states=images.tokens,
            encoder_attention_mask=text_mask.new_ones(images.tokens.shape[:2]) if mask is None else mask,
            return_dict=True,
        ).last_hidden_state  # (P, T, D)
        with full_precision(self.device):
            return self.model.itm_head(hidden[:, 0].float())[:, 1]

    def token_mask(self, texts: list[str]) -> Tensor:
        """Which tokens are the texts', and not padding, (M, T) bool."""
        return self._tokens(texts, self.device)[1]

    def _encode(self, texts: list[str]) -> list[Tensor]:
        rows = self.model.tokenizer(texts, truncation=True, max_length=self.text_length).input_ids
        return [torch.tensor(row) for row in rows]
