"""Starting values of a codebook (TL;DR, sec. 3.1 and Table 2c).

Shapes: N feature vectors of width D, K codes.
"""

import torch
from torch import Tensor

from lavis_tldr.codebook.quantizer import nearest_code


def match_moments(embeddings: Tensor, features: Tensor, shrinkage: float = 0.1) -> Tensor:
    """Map text embeddings onto the mean and covariance of image features.

    Differs from the paper: there keyword embeddings are the codes as they are. They lie in another region of the
    space than image features, so that nearly all features then share a few codes and the codebook collapses. Centred,
    whitened and coloured, they keep their arrangement among each other and lie where the features lie.

    Args:
        embeddings: Keyword embeddings, (K, E).
        features: Image features, (N, D). Where E and D differ, the min(E, D) principal directions are matched in
            order of variance.
        shrinkage: Share of the mean variance added to each direction of the embeddings, so that directions in which
            they hardly differ are not blown up.

    Returns:
        Codes, (K, D).

    Raises:
        ValueError: If there are fewer than two embeddings or features, or all embeddings are alike.
    """
    if len(embeddings) < 2 or len(features) < 2:
        raise ValueError(
            f"moments need at least 2 rows each, found {len(embeddings)} embeddings and {len(features)} features."
        )
    if bool((embeddings == embeddings[0]).all()):
        raise ValueError(
            f"the {len(embeddings)} embeddings are all alike; give keywords that the vocabulary tells apart."
        )
    mean, scale, basis = _principal(features)
    text_mean, text_scale, text_basis = _principal(embeddings)
    width = min(len(scale), len(text_scale))
    floor = shrinkage * text_scale.pow(2).mean()
    # Directions in which the embeddings do not differ at all stay at the mean.
    spread = (text_scale.pow(2) + floor).sqrt().clamp(min=1e-6 * text_scale[0])
    white = (embeddings.double() - text_mean) @ text_basis / spread
    codes = white[:, :width] * scale[:width] @ basis[:, :width].T + mean
    return codes.to(features.dtype)


def lloyd(features: Tensor, codes: Tensor, num_iterations: int, *, generator: torch.Generator) -> Tensor:
    """Move codes to the means of the features nearest to them; a code without any restarts at a drawn feature.

    Args:
        features: (N, D).
        codes: (K, D), not modified.
        num_iterations: Passes over the features.
        generator: Draws the features at which empty codes restart.

    Returns:
        Codes, (K, D).

    Raises:
        ValueError: If there are fewer features than codes.
    """
    if len(features) < len(codes):
        raise ValueError(
            f"{len(features)} features can't place {len(codes)} codes; give more images or lower model.num_codes."
        )
    codes = codes.clone()
    for _ in range(num_iterations):
        nearest = torch.cat([nearest_code(block, codes) for block in features.split(16384)])
        counts = torch.bincount(nearest, minlength=len(codes))
        sums = torch.zeros_like(codes).index_add_(0, nearest, features)
        empty = (counts == 0).nonzero().squeeze(1)
        codes = sums / counts.clamp(min=1).unsqueeze(1).to(sums.dtype)
        drawn = torch.randperm(len(features), generator=generator)[: len(empty)]
        codes[empty] = features[drawn.to(features.device)]
    return codes


def _principal(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (D,), standard deviations (D,) in descending order and their directions (D, D) as columns."""
    x = x.double()
    mean = x.mean(0)
    centred = x - mean
    variance, directions = torch.linalg.eigh(centred.T @ centred / (len(x) - 1))
    # An eigenvector's sign is arbitrary; fixing it makes the result the same on every machine.
    largest = directions.abs().argmax(0)
    directions = directions * directions[largest, torch.arange(directions.shape[1])].sign()
    return mean, variance.flip(0).clamp(min=0).sqrt(), directions.flip(1)
