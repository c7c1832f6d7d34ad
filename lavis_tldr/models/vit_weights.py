"""Reads ViT weights in timm's names, from a local file, into LAVIS's `VisionTransformer`."""

from pathlib import Path

import torch
from lavis.models.vit import VisionTransformer, interpolate_pos_embed
from safetensors.torch import load_file
from torch import Tensor


def load_vit(encoder: VisionTransformer, path: str, key: str) -> None:
    """Start a ViT from a file; its positions are interpolated to the encoder's grid.

    Args:
        encoder: Modified in place.
        path: A ``.safetensors`` file, or one that ``torch.save`` wrote, of timm's or DeiT's names.
        key: The config key that named the file, for errors.

    Raises:
        ValueError: If the file is absent, of other sizes, or of a ViT that this one can't stand for.
    """
    if not Path(path).is_file():
        raise ValueError(f"{key}: there is no file {path}.")
    state = _read_vit(path, key)
    try:
        if "pos_embed" in state:
            state["pos_embed"] = interpolate_pos_embed(state["pos_embed"], encoder)
        result = encoder.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{key}: {path} does not fit a ViT of these sizes: {error}") from error
    if result.missing_keys:
        raise ValueError(
            f"{key}: {path} lacks {len(result.missing_keys)} weights (first: {result.missing_keys[0]!r}); "
            "expected timm's VisionTransformer names."
        )
    layer_scales = [name for name in result.unexpected_keys if name.endswith((".ls1.gamma", ".ls2.gamma"))]
    if layer_scales:
        raise ValueError(
            f"{key}: {path} scales its layers ({layer_scales[0]}), which this ViT does not; multiply the "
            "scales into the weights and biases of attn.proj and mlp.fc2 first."
        )


def _read_vit(path: str, key: str) -> dict[str, Tensor]:
    try:
        if str(path).endswith(".safetensors"):
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("model", state)
        return {name: tensor.float() for name, tensor in state.items()}
    except Exception as error:
        raise ValueError(f"{key}: {path} is no file of plain weights ({error}).") from error
