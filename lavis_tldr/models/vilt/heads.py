"""Heads on the one-stream transformer, named as in transformers and the official code. D is its width."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NORM_EPS = 1e-12  # BERT's


class _Transform(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(F.gelu(self.dense(x)))


class MaskedWordHead(nn.Module):
    """Logits over the vocabulary for each text token; not tied to the word embeddings."""

    def __init__(self, width: int, vocab_size: int):
        super().__init__()
        self.transform = _Transform(width)
        self.decoder = nn.Linear(width, vocab_size)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.decoder.bias = self.bias  # public weights hold it under either name, or both

    def forward(self, text: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""
        return self.decoder(self.transform(text))


class MatchingHead(nn.Module):
    """Does the text fit the image? Logits of no and yes."""

    def __init__(self, width: int):
        super().__init__()
        self.fc = nn.Linear(width, 2)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, D) -> (B, 2)."""
        return self.fc(pooled)


def classifier(width: int, hidden: int, num_classes: int) -> nn.Sequential:
    """The head of fine-tuned classifiers: a layer of ``hidden`` units, then classes."""
    return nn.Sequential(nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, num_classes))
