"""A model's frozen image tower by itself, as what computes and caches features wants it."""

import torch
from lavis.models.vit import VisionTransformer
from torch import Tensor, nn

from lavis_tldr.models.weights_digest import parameters_digest_of


class FrozenEncoder(nn.Module):
    """The image tower of any model; its output is what that model makes of an image first.

    Args:
        visual_encoder: A ViT none of whose weights is trained.

    Raises:
        ValueError: If one is.
    """

    freeze_encoder = True

    def __init__(self, visual_encoder: VisionTransformer):
        super().__init__()
        if any(p.requires_grad for p in visual_encoder.parameters()):
            raise ValueError("feature_cache needs model.freeze_vit: True; a moving encoder makes features stale.")
        self.visual_encoder = visual_encoder

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @torch.no_grad()
    def encode_tokens(self, image: Tensor) -> Tensor:
        """The encoder's output, [CLS] first, (B, 3, H, W) -> (B, 1 + L, D)."""
        return self.visual_encoder(image)

    def encoder_digest(self) -> str:
        return parameters_digest_of(self.visual_encoder)
