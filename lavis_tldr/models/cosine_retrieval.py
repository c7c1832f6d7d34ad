"""Scores of a retrieval set by embeddings alone."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_TEXTS_AT_ONCE = 256


@torch.no_grad()
def cosine_matrices(
    data_loader, embed_images: Callable[[Mapping[str, Any]], Tensor], embed_texts: Callable[[list[str]], Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all images with all texts of a retrieval set, as LAVIS's task asks for them.

    Args:
        data_loader: Gives each image once, with its ``index``; its dataset has the texts, ``text``.
        embed_images: Unit embeddings of a batch's images, (B, E).
        embed_texts: Of texts, (M, E).

    Returns:
        (images, texts) and (texts, images), float32.

    Raises:
        ValueError: If the loader does not give each image once.
    """
    images, indices = [], []
    for samples in data_loader:
        images.append(embed_images(samples))
        indices += torch.as_tensor(samples["index"]).tolist()
    num_images = len(data_loader.dataset)
    check_each_once(indices, num_images)
    texts = data_loader.dataset.text
    blocks = [texts[first : first + _TEXTS_AT_ONCE] for first in range(0, len(texts), _TEXTS_AT_ONCE)]
    scores = torch.cat(images)[np.argsort(indices)] @ torch.cat([embed_texts(block) for block in blocks]).T
    return scores.cpu().numpy(), scores.T.contiguous().cpu().numpy()


def check_each_once(indices: list[int], num_images: int) -> None:
    """Of a retrieval set's images as a loader gave them.

    Raises:
        ValueError: If one is missing or doubled.
    """
    if sorted(indices) != list(range(num_images)):
        raise ValueError(
            f"the loader gave {len(indices)} images ({len(set(indices))} different) of {num_images}; every process "
            "needs each once: set run.use_dist_eval_sampler: False."
        )
