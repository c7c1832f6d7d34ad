"""The image tower of a BLIP pretraining: LAVIS's ViT in any size, frozen on request.

Shapes: B images, L patches, D width, h heads.
"""

from functools import partial

import torch.nn.functional as F
from fairscale.nn.checkpoint.checkpoint_activations import checkpoint_wrapper
from lavis.models.vit import Attention, VisionTransformerEncoder
from torch import Tensor, nn

from lavis_tldr.models.random_weights import NARROW, spread_random_weights
from lavis_tldr.models.vit_weights import load_vit


class FusedAttention(Attention):
    """LAVIS's attention by torch's fused one, except where its map is to be kept."""

    def forward(self, x: Tensor, register_hook: bool = False) -> Tensor:
        if register_hook:
            return super().forward(x, register_hook)
        query, key, value = (
            self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        )  # (B, h, 1 + L, D/h)
        dropout = self.attn_drop.p if self.training else 0.0
        x = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=self.scale)
        return self.proj_drop(self.proj(x.transpose(1, 2).flatten(2)))


class ImageTower(VisionTransformerEncoder):
    """A ViT as stock BLIP models use one.

    Args:
        frozen: No weight is trained, and it stays in eval mode. It then passes tokens on that were computed before.
        fused: Take `FusedAttention`.
        num_checkpointed: Last layers that are computed again for the backward pass instead of kept.
        sizes: As LAVIS's VisionTransformer takes them.
    """

    def __init__(self, *, frozen: bool, fused: bool, num_checkpointed: int = 0, **sizes):
        super().__init__(**sizes, norm_layer=partial(nn.LayerNorm, eps=1e-6))
        self.vision_width = self.embed_dim
        self.frozen = frozen
        for number, block in enumerate(self.blocks):
            if fused:
                block.attn = FusedAttention(self.embed_dim, block.attn.num_heads, qkv_bias=True)
                block.attn.apply(self._init_weights)
            if number >= len(self.blocks) - num_checkpointed:
                block.attn, block.mlp = checkpoint_wrapper(block.attn), checkpoint_wrapper(block.mlp)
        if frozen:
            self.requires_grad_(False)
            self.eval()

    def train(self, mode: bool = True) -> "ImageTower":
        return super().train(mode and not self.frozen)

    def forward(self, x: Tensor, register_blk: int = -1) -> Tensor:
        """Tokens of images, [CLS] first, (B, 3, H, W) -> (B, 1 + L, D); of a frozen tower such tokens pass.

        Raises:
            ValueError: If tokens are given and the tower is not frozen.
        """
        if x.ndim != 3:
            return super().forward(x, register_blk)
        if not self.frozen:
            raise ValueError("image_features need model.freeze_vit: True; a tower that is trained makes them stale.")
        return x.to(self.pos_embed)

    def forward_features(self, x: Tensor, register_blk: int = -1) -> Tensor:
        return self.forward(x, register_blk)


def build_image_tower(cfg: dict) -> ImageTower:
    """The tower of a checked config, started from ``vit_weights`` where they are given.

    Raises:
        ValueError: If sizes do not go together, or the weights do not fit.
    """
    if cfg["image_size"] % cfg["patch_size"]:
        raise ValueError(f"model.image_size {cfg['image_size']} is no multiple of patch_size {cfg['patch_size']}.")
    tower = ImageTower(
        frozen=cfg["freeze_vit"],
        fused=cfg["fast"],
        num_checkpointed=cfg["vit_ckpt_layer"] if cfg["vit_grad_ckpt"] else 0,
        img_size=cfg["image_size"],
        patch_size=cfg["patch_size"],
        embed_dim=cfg["vit_width"],
        depth=cfg["vit_depth"],
        num_heads=cfg["vit_heads"],
        drop_path_rate=cfg["vit_drop_path_rate"],
    )
    if cfg["vit_weights"]:
        load_vit(tower, cfg["vit_weights"], "model.vit_weights")
    elif cfg["vit_width"] < NARROW:
        spread_random_weights(tower)
    return tower
