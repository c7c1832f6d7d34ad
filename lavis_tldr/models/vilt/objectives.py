"""ViLT's two pretraining objectives: image-text matching and masked language modelling (arXiv:2102.03334, sec. 3.2).

Word-patch alignment, which the official loss adds, is left out, as METER and VLMo, built on that code, did.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lavis_tldr.models.vilt.masking import IGNORED


def draw_matches(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Which text each image of a batch is shown with in matching: its own for B // 2 of them, else another's.

    The others' texts come from a roll of the batch by a random shift that is not 0. Differs from the official code,
    which takes another image out of the whole set; both are drawn without regard to how hard they are.

    Args:
        ids: WordPieces of the batch's texts, padded, (B, T).

    Returns:
        Row of the text for each image, (B,), and whether it fits, (B,) int64. A text that reads the same as the
        image's own fits, wherever it comes from.

    Raises:
        ValueError: If the batch is a single pair.
    """
    num_pairs = len(ids)
    if num_pairs < 2:
        raise ValueError(
            "image-text matching takes its negatives from the batch, which holds a single pair; "
            "use a batch of 2 pairs or more on each process."
        )
    # Drawn on the CPU: reading a shift back would have a GPU wait.
    shift = int(torch.randint(1, num_pairs, ()))
    rows = torch.arange(num_pairs)
    own = torch.randperm(num_pairs) < num_pairs // 2
    rows = torch.where(own, rows, (rows + shift) % num_pairs).to(ids.device)
    return rows, (ids[rows] == ids).all(1).long()


def matching_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of (B, 2) logits and the share of pairs told right, both 0-dim."""
    accuracy = (logits.argmax(1) == labels).float().mean()
    return F.cross_entropy(logits.float(), labels), accuracy


def word_loss(head, text: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the hidden pieces and the share of them told right, both 0-dim.

    Args:
        head: From outputs (N, D) to logits over the vocabulary; it runs on the hidden pieces alone.
        text: Outputs of the text tokens, (B, T, D).
        targets: From `WordMasker`, (B, T).
    """
    chosen = targets != IGNORED
    logits, wanted = head(text[chosen]).float(), targets[chosen]
    count = max(len(wanted), 1)  # captions without a word have nothing hidden
    accuracy = (logits.argmax(1) == wanted).sum() / count
    return F.cross_entropy(logits, wanted, reduction="sum") / count, accuracy
