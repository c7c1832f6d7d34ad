"""Losses that tell each image's text from all others of the batch, over all processes.

The batch is what all processes have together. Each takes the mean over its own images against all texts; the mean over
processes, which is what data-parallel training makes of gradients, is then the loss of one process with the whole
batch, and so are its gradients. Gathered features have gradients for that (open_clip calls it local_loss and
gather_with_grad).

Everything is computed in float32, under autocast too: bfloat16 has steps of 0.5 between logits near 100.

Shapes: B pairs of this process, R processes, E embedding width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lavis_tldr.models.collectives import gather_rows, rank


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE both ways (CLIP, arXiv:2103.00020, fig. 3).

    Args:
        image: Unit features of images, (B, E), as many on every process.
        text: Of their texts, (B, E).
        scale: The inverse temperature, a scalar.

    Returns:
        The mean of cross-entropies over this process's images and texts, a scalar.
    """
    with torch.autocast(image.device.type, enabled=False):
        image, text, scale = image.float(), text.float(), scale.float()
        all_images, all_texts = gather_rows(torch.cat([image, text], 1)).chunk(2, 1)  # (R B, E)
        own = _own_columns(image)
        by_text = F.cross_entropy(scale * image @ all_texts.T, own)
        by_image = F.cross_entropy(scale * text @ all_images.T, own)
        return (by_text + by_image) / 2


def sigmoid_loss(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Each image with each text a yes-or-no question of its own (SigLIP, arXiv:2303.15343, eq. 1).

    Args:
        image: Unit features of images, (B, E), as many on every process.
        text: Of their texts, (B, E).
        scale: t, a scalar.
        bias: b, a scalar.

    Returns:
        Mean over this process's images of the sum over all texts of -log sigmoid(z (t x + b)); x is the cosine, z is
        1 for the image's own text and -1 else.
    """
    with torch.autocast(image.device.type, enabled=False):
        image, text = image.float(), text.float()
        logits = scale.float() * image @ gather_rows(text).T + bias.float()  # (B, R B)
        sign = torch.full_like(logits, -1)
        sign[torch.arange(len(image), device=image.device), _own_columns(image)] = 1
        return -F.logsigmoid(sign * logits).sum(1).mean()


def _own_columns(rows: Tensor) -> Tensor:
    """Where this process's rows lie among those of all, (B,)."""
    return rank() * len(rows) + torch.arange(len(rows), device=rows.device)
