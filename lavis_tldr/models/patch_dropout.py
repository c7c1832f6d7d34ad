"""Patch dropout: a ViT in training sees a share of each image's patches (FLIP, arXiv:2212.00794, sec. 3)."""

import torch
from torch import Tensor, nn


class PatchDropout:
    """A forward hook for the module of a ViT behind which tokens have their positions and meet one another next.

    Parameters' names stay as they are without it. In evaluation it does nothing.

    Args:
        share: Of the patches that are dropped, in [0, 1); one at least is kept.
    """

    def __init__(self, share: float):
        self.share = share

    def __call__(self, module: nn.Module, inputs: tuple, tokens: Tensor) -> Tensor:
        """Keep [CLS] and some patches of each image, drawn for itself, (B, 1 + L, D) -> (B, 1 + kept, D)."""
        if not module.training:
            return tokens
        batch, length, width = tokens.shape
        num_kept = max(1, round((length - 1) * (1 - self.share)))
        kept = torch.rand(batch, length - 1, device=tokens.device).topk(num_kept).indices + 1
        kept = torch.cat([kept.new_zeros(batch, 1), kept], 1)
        return tokens.gather(1, kept[..., None].expand(-1, -1, width))
