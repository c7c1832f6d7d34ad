"""A tiny image-text network, pretrained like the big ones: contrastive (ITC), matching (ITM), language (LM).

What the paper's gradient-based selection trains (sec. 4.1). Images come as frozen features, captions as tokens; a layer
or two each, then a linear layer for each of the losses, together the network's last layer.

Shapes: N pairs, T tokens, R other pairs, D image feature width, W width, E embedding width, V tokens known.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAD = 0  # token of padding; the tokens of captions are 1 to V - 1
_WIDTH, _EMBEDDING = 64, 64


class States(NamedTuple):
    """What the last layer is given of N pairs.

    Attributes:
        image: (N, W).
        text: (N, W).
    """

    image: Tensor
    text: Tensor

    def at(self, rows: Tensor) -> "States":
        return States(self.image[rows], self.text[rows])


class TinyVLP(nn.Module):
    """See above.

    The states that the last layer is given are normalized to length sqrt(W), so that the gradient of its weights tells
    how wrong the network is about a pair, not how large its states are.

    Args:
        image_width: D.
        num_tokens: V.
    """

    def __init__(self, image_width: int, num_tokens: int):
        super().__init__()
        self.image_in = nn.Linear(image_width, _WIDTH)
        self.words = nn.Embedding(num_tokens, _WIDTH, padding_idx=PAD)
        self.reader = nn.GRU(_WIDTH, _WIDTH, batch_first=True)
        self.fusion = nn.Linear(3 * _WIDTH, _WIDTH)
        self.writer = nn.GRU(_WIDTH, _WIDTH, batch_first=True)
        self.last = nn.ModuleDict(
            {
                "image": nn.Linear(_WIDTH, _EMBEDDING),
                "text": nn.Linear(_WIDTH, _EMBEDDING),
                "match": nn.Linear(_WIDTH, 2),
                "token": nn.Linear(_WIDTH, num_tokens),
            }
        )
        self.log_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    @property
    def scale(self) -> Tensor:
        """Of cosines, at most 100 (CLIP, arXiv:2103.00020)."""
        return self.log_scale.exp().clamp(max=100)

    def states(self, images: Tensor, tokens: Tensor) -> States:
        """Of standardized image features (N, D), and of captions (N, T), padded at the end and no longer elsewhere."""
        image = _normalized(F.gelu(self.image_in(images)))
        read, _ = self.reader(self.words(tokens))
        ends = (tokens != PAD).sum(1) - 1
        return States(image, _normalized(read[torch.arange(len(tokens)), ends]))

    def fused(self, image: Tensor, text: Tensor) -> Tensor:
        """State of images with texts, (N, W), from theirs, (N, W) each."""
        return _normalized(F.gelu(self.fusion(torch.cat([image, text, image * text], -1))))

    def written(self, image: Tensor, tokens: Tensor) -> Tensor:
        """State before each token but the first, given the image (N, W) and the tokens before, (N, T - 1, W)."""
        return _normalized(self.writer(self.words(tokens[:, :-1]), image.tanh()[None].contiguous())[0])

    def forward(self, images: Tensor, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """ITC + ITM + LM loss of a batch of N > 1 pairs.

        Negatives come from the batch. Those of ITM are hard: drawn in proportion to their contrastive likelihood
        (ALBEF, arXiv:2107.07651, sec. 3.2).
        """
        own = self.states(images, tokens)
        cosines = (
            F.normalize(self.last["image"](own.image), dim=-1) @ F.normalize(self.last["text"](own.text), dim=-1).T
        )
        similarity = self.scale * cosines  # (N, N), of images and captions
        target = torch.arange(len(images), device=images.device)
        itc = (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2
        with torch.no_grad():
            others = similarity.masked_fill(
                torch.eye(len(target), dtype=torch.bool, device=target.device), float("-inf")
            )
            hard_texts = torch.multinomial(others.softmax(1), 1, generator=generator)[:, 0]
            hard_images = torch.multinomial(others.T.softmax(1), 1, generator=generator)[:, 0]
        fused = self.matched(own, own.at(hard_images).image, own.at(hard_texts).text)
        itm = matching_losses(self.last["match"](fused)).mean()
        counted = tokens[:, 1:] != PAD
        lm = F.cross_entropy(self.last["token"](self.written(own.image, tokens)[counted]), tokens[:, 1:][counted])
        return itc + itm + lm

    def matched(self, own: States, other_images: Tensor, other_texts: Tensor) -> Tensor:
        """States of each pair, of its caption with another image, and of its image with another caption, (N, 3, W)."""
        images = torch.stack([own.image, other_images, own.image], 1)
        texts = torch.stack([own.text, own.text, other_texts], 1)
        return self.fused(images, texts)


def matching_losses(scores: Tensor) -> Tensor:
    """ITM loss of each pair, (N,), from the scores of no match and match of what `TinyVLP.matched` gives, (N, 3, 2)."""
    target = torch.tensor([1, 0, 0], device=scores.device).expand(len(scores), 3)
    return F.cross_entropy(scores.flatten(0, 1), target.flatten(), reduction="none").view(-1, 3).mean(1)


def _normalized(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])
