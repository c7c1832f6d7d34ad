"""Pretrained weights of `clip_pretrain` for LAVIS's stock ``clip``, and for images of another size.

Shapes: L patches, D width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_VISUAL_POSITIONS = "visual.positional_embedding"
_TEXT_POSITIONS = "positional_embedding"
# One of each part of a CLIP with a plain ViT, to tell such a state by.
_TELLING = (_VISUAL_POSITIONS, "visual.conv1.weight", "visual.proj", _TEXT_POSITIONS, "text_projection", "logit_scale")
_OF_LOSS = "logit_bias"  # of the sigmoid loss; moves no image or text before another


def to_stock_clip(state: dict[str, Tensor], *, image_size: int | None = None, context_length: int = 77) -> dict:
    """A file's content that stock ``clip`` loads strictly from ``model.pretrained``.

    Cosines and ranks are the same. Stock evaluation still cuts long texts wrongly (see `BPETokenizer`); evaluated as
    ``clip_pretrain`` they are not.

    Args:
        state: Weights of a ``clip_pretrain`` with LAVIS's towers (model types ViT-B-32 and ViT-B-16).
        image_size: Of the images that it will be given, in pixels; None: as in training.
        context_length: Positions of stock's text tower. A tower of fewer has its last repeated, which texts that fitted
            do not see; of one of more the first are kept.

    Returns:
        ``{"state_dict": weights}``; ``state`` stays as it is.

    Raises:
        ValueError: If the weights are of other towers or of something else, or patches do not fill the image size.
    """
    if "vision_proj.weight" in state and "text_proj.weight" in state:
        raise ValueError(
            "these weights are of a clip_pretrain with two towers (model types small, base, tiny), which stock clip "
            "has no layers for. Evaluate them as arch clip_pretrain with load_finetuned: True and finetuned: the "
            "checkpoint; only ViT-B-32 and ViT-B-16 can be converted."
        )
    missing = [name for name in _TELLING if name not in state]
    if missing:
        raise ValueError(
            f"these are no weights of a clip_pretrain with a ViT: they lack {missing[0]}. Give what a checkpoint of "
            "model type ViT-B-32 or ViT-B-16 holds under 'model'."
        )
    converted = {name: value for name, value in state.items() if name != _OF_LOSS}
    converted["logit_scale"] = state["logit_scale"].clamp(0, math.log(100))  # the last update may have left it beyond
    if image_size is not None:
        patch_size = state["visual.conv1.weight"].shape[-1]
        if image_size < patch_size or image_size % patch_size:
            raise ValueError(f"image_size {image_size} is no multiple of the model's patch size, {patch_size}.")
        converted[_VISUAL_POSITIONS] = resize_positions(state[_VISUAL_POSITIONS], image_size // patch_size)
    text = state[_TEXT_POSITIONS][:context_length]
    converted[_TEXT_POSITIONS] = torch.cat([text, text[-1:].expand(context_length - len(text), -1)])
    return {"state_dict": converted}


def resize_positions(positions: Tensor, grid: int) -> Tensor:
    """Position embeddings of a ViT for another grid, bicubic with antialiasing; [CLS]'s is kept (open_clip).

    Args:
        positions: [CLS] first, then a square grid's row by row, (1 + L, D).
        grid: Side of the new grid.

    Returns:
        (1 + grid ** 2, D).
    """
    own = math.isqrt(len(positions) - 1)
    if own == grid:
        return positions
    patches = positions[1:].float().T.reshape(1, -1, own, own)  # (1, D, own, own)
    patches = F.interpolate(patches, size=(grid, grid), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1], patches[0].flatten(1).T.to(positions.dtype)])


def with_positions_for(state: dict[str, Tensor], name: str, wanted: Tensor) -> dict[str, Tensor]:
    """``state`` with the positions under ``name``, if there are any, resized to the grid of ``wanted``.

    Args:
        state: Weights.
        name: Of position embeddings, (1 + L, D) or (1, 1 + L, D).
        wanted: The model's own, of as many dimensions.
    """
    found = state.get(name)
    if found is None or found.shape[-1] != wanted.shape[-1]:  # another width is for loading to refuse
        return state
    grid = math.isqrt(wanted.shape[-2] - 1)
    resized = resize_positions(found.reshape(-1, found.shape[-1]), grid)
    return {**state, name: resized.reshape(wanted.shape)}
