"""How well texts fit the parts of one image.

Shapes: K crops, M texts, E embedding width.
"""

import torch
from torch import Tensor

from lavis_tldr.models.scorers.scorer import ImageTextScorer, ReadImages


@torch.no_grad()
def score_crops(scorer: ImageTextScorer, crops: Tensor, texts: list[str], per_pass: int) -> Tensor:
    """Scores of all texts with all crops: the match logit of a model that matches, else the cosine.

    Each crop is encoded once, whatever the number of texts.

    Args:
        scorer: The model.
        crops: (K, 3, H, W).
        texts: M texts.
        per_pass: Crops encoded, texts encoded and pairs matched at once.

    Returns:
        (M, K), float32, on the CPU.
    """
    blocks = [{"image": part.to(scorer.device)} for part in crops.split(per_pass)]
    if not scorer.matches:
        images = torch.cat([scorer.embed_images(block) for block in blocks])
        embedded = [scorer.embed_texts(texts[i : i + per_pass]) for i in range(0, len(texts), per_pass)]
        return (torch.cat(embedded) @ images.T).float().cpu()
    images = ReadImages.cat(scorer.read_images(block) for block in blocks)
    pairs = torch.cartesian_prod(torch.arange(len(texts)), torch.arange(len(images)))  # (M K, 2)
    logits = [
        scorer.match_pairs(images[part[:, 1].to(scorer.device)], [texts[i] for i in part[:, 0].tolist()])
        for part in pairs.split(per_pass)
    ]
    return torch.cat(logits).float().view(len(texts), len(images)).cpu()
