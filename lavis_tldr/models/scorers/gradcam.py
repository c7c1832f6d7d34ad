"""Where BLIP looks in an image when it matches a text: GradCAM on a cross-attention map (ALBEF, arXiv:2107.07651, 6.4).

Shapes: M texts, T tokens, h heads, L = g x g patches, D width.
"""

import torch
from lavis.models.med import XBertEncoder
from torch import Tensor, nn

from lavis_tldr.models.scorers.blip import BlipScorer
from lavis_tldr.models.scorers.scorer import ImageTextScorer, ReadImages


def gradcam_layer(scorer: ImageTextScorer, number: int | None) -> nn.Module:
    """The cross-attention whose map is taken.

    Args:
        scorer: The model.
        number: Of the text encoder's layer, from 0; None: the one in the middle, as LAVIS has it (6 of 12). Every layer
            of BLIP has one, and its authors published no choice; ALBEF takes its 8, the third of its six.

    Raises:
        ValueError: If the model has no cross-attention, or not so many layers.
    """
    encoder = getattr(scorer.model, "text_encoder", None) if isinstance(scorer, BlipScorer) else None
    if not isinstance(encoder, XBertEncoder):
        raise no_cross_attention(type(getattr(scorer, "model", scorer)).__name__)
    layers = encoder.encoder.layer
    number = len(layers) // 2 if number is None else number
    if not 0 <= number < len(layers):
        raise ValueError(f"run.gradcam_layer is {number}; this model has the layers 0 to {len(layers) - 1}.")
    return layers[number].crossattention.self


def heat_maps(scorer: BlipScorer, layer: nn.Module, image: ReadImages, texts: list[str]) -> Tensor:
    """What of an image speaks for each text.

    The attention map times the gradient of the match logit to it, where that is positive; mean over heads and over the
    text's tokens. Gradients are computed even under ``no_grad``, as the runners evaluate; no weight gets one.

    Args:
        scorer: A BLIP in eval mode.
        layer: From `gradcam_layer`.
        image: One image, read.
        texts: M texts.

    Returns:
        (M, g, g), float32.

    Raises:
        ValueError: If the image's patches are no square.
    """
    maps: list[Tensor] = []
    # The attention weights go through this dropout, which does nothing in eval mode.
    handle = layer.dropout.register_forward_pre_hook(lambda module, inputs: maps.append(inputs[0]))
    try:
        with torch.enable_grad():
            # A frozen model's maps have a gradient through the image alone.
            tokens = image.tokens.detach().expand(len(texts), -1, -1).clone().requires_grad_()
            logits = scorer.match_pairs(ReadImages(tokens), texts)
            (gradient,) = torch.autograd.grad(logits.sum(), maps[0])  # (M, h, T, 1 + L)
    finally:
        handle.remove()
    mask = scorer.token_mask(texts)[:, None, :, None]
    heat = maps[0].detach().float() * gradient.float().clamp(min=0) * mask
    heat = heat[..., 1:].mean(1).sum(1) / mask[:, 0].sum(1)  # (M, L); the first of the image's tokens is [CLS]
    side = int(heat.shape[1] ** 0.5)
    if side * side != heat.shape[1]:
        raise ValueError(f"the image has {heat.shape[1]} patches, which are no square: GradCAM wants square images.")
    return heat.unflatten(1, (side, side))


def no_cross_attention(model: str) -> ValueError:
    """The refusal of a model that GradCAM can't be had of."""
    return ValueError(
        f"run.grounding: gradcam reads the cross-attention of BLIP's matching, and {model} has none: set "
        "run.grounding: crop."
    )
