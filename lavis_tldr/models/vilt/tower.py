"""A frozen image tower below the one stream: its patch features are the image that ViLT sees.

ViLT embeds patches by a linear map and lets the one stream learn to see. That takes millions of pairs. With a tower
that sees already, a few thousand and a CPU do: the tower's features of an image, as a map of its patches, stand in the
pixels' place, and can be computed once.

Shapes: B images, L = g x g patches of the tower, C its width.
"""

from functools import partial

import torch
from lavis.models.vit import VisionTransformer
from torch import Tensor, nn

from lavis_tldr.models.vit_weights import load_vit
from lavis_tldr.user_errors import closest

KEYS = ("image_size", "patch_size", "width", "depth", "heads")


class FrozenTower(VisionTransformer):
    """A ViT that stays as it is.

    Args:
        sizes: ``image_size``, ``patch_size``, ``width``, ``depth``, ``heads``.
    """

    def __init__(self, sizes: dict):
        super().__init__(
            img_size=sizes["image_size"],
            patch_size=sizes["patch_size"],
            embed_dim=sizes["width"],
            depth=sizes["depth"],
            num_heads=sizes["heads"],
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )
        self.grid = sizes["image_size"] // sizes["patch_size"]
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> "FrozenTower":
        return super().train(False)

    @torch.no_grad()
    def feature_map(self, image: Tensor | None, tokens: Tensor | None) -> Tensor:
        """The patches' features as an image of C channels, (B, C, g, g).

        Args:
            image: (B, 3, H, W); needed where there are no tokens.
            tokens: What the tower gave for the images before, [CLS] first, (B, 1 + L, C), or None.

        Raises:
            ValueError: If the tokens are not of this tower.
        """
        if tokens is None:
            tokens = self(image)
        expected = (1 + self.grid**2, self.embed_dim)
        if tuple(tokens.shape[1:]) != expected:
            raise ValueError(
                f"image_features have shape {tuple(tokens.shape)}; expected (images, {expected[0]}, {expected[1]}), "
                "what model.tower gives."
            )
        return tokens[:, 1:].transpose(1, 2).unflatten(2, (self.grid, self.grid))


def build_tower(config: dict) -> FrozenTower | None:
    """The tower that ``tower`` describes, with ``vit_weights``; None where there is none.

    Raises:
        ValueError: If it is described by halves, does not go with the one stream's sizes, or its weights do not fit.
    """
    sizes = config["tower"]
    if not sizes:
        return None
    unknown = [key for key in sizes if key not in KEYS]
    if unknown or set(sizes) != set(KEYS):
        hint = closest(unknown[0], KEYS) if unknown else ""
        raise ValueError(f"model.tower has {', '.join(sizes)}; expected {', '.join(KEYS)}{hint}.")
    if config["freeze_layers"]:
        raise ValueError("model.freeze_layers keeps the first blocks of a ViT still; with model.tower there are none.")
    if sizes["image_size"] % sizes["patch_size"]:
        raise ValueError(
            f"model.tower.image_size {sizes['image_size']} is no multiple of its patch_size {sizes['patch_size']}."
        )
    tower = FrozenTower(sizes)
    if config["image_size"] != tower.grid:
        raise ValueError(
            f"model.image_size is {config['image_size']}; with model.tower it is the side of the tower's grid of "
            f"patches, {tower.grid}, of which model.patch_size by patch_size are read as one."
        )
    if config["vit_weights"]:
        load_vit(tower, config["vit_weights"], "model.vit_weights")
    return tower
