"""Heads on the one-stream transformer, named as in transformers and the official code. D is its width."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NORM_EPS = 1e-12  # BERT's
_LARGEST_SCALE = math.log(100)


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


class ContrastiveHead(nn.Module):
    """Puts images and texts, each read alone, into one space, and scales their cosines as CLIP does.

    Args:
        width: D.
        embed_dim: Width of the space, E.
    """

    def __init__(self, width: int, embed_dim: int):
        super().__init__()
        self.image_proj = nn.Linear(width, embed_dim, bias=False)
        self.text_proj = nn.Linear(width, embed_dim, bias=False)
        for projection in (self.image_proj, self.text_proj):
            nn.init.normal_(projection.weight, std=width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def embed_image(self, read: Tensor) -> Tensor:
        """Unit embeddings of images read alone, (B, D) -> (B, E) float32."""
        return F.normalize(self.image_proj(read).float(), dim=-1)

    def embed_text(self, read: Tensor) -> Tensor:
        """Unit embeddings of texts read alone, (B, D) -> (B, E) float32."""
        return F.normalize(self.text_proj(read).float(), dim=-1)

    def scale(self) -> Tensor:
        """The inverse temperature, at most 100; in training the parameter itself is kept there."""
        if self.training:
            with torch.no_grad():
                self.logit_scale.clamp_(0, _LARGEST_SCALE)
        return self.logit_scale.exp()


def classifier(width: int, hidden: int, num_classes: int) -> nn.Sequential:
    """The head of fine-tuned classifiers: a layer of ``hidden`` units, then classes."""
    return nn.Sequential(nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, num_classes))
