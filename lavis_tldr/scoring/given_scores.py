"""Scores by embeddings of images and captions in one space, such as CLIP's, that the user has; nothing is fitted.

Shapes: N pairs, R other pairs, E width of the embeddings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lavis_tldr.reduction.draw import draw_priority

_ROWS = 4096
_TENSORS = ("images", "texts", "image_keys")


def cosine_scores(images: Tensor, texts: Tensor) -> Tensor:
    """Cosine of each pair's embeddings, (N, E) each: the CLIP score, (N,). NaN where an embedding is NaN or zero."""
    return (_unit(images) * _unit(texts)).sum(1)


@dataclass
class NegClip:
    """negCLIPLoss of pairs among others (Wang et al. 2024, arXiv:2405.19547), higher is better.

    2 s(x, t) / T - log mean_j exp(s(x, t_j) / T) - log mean_j exp(s(x_j, t) / T), with s the cosine and T the
    temperature: how much more alike the two are than each is to others. What a caption or an image has in common with
    all (a stock phrase, a blank image) cancels out. Pairs of the same image are no others.

    Differs from the paper: the others are drawn once, the same for all, and not the rest of a batch.

    Attributes:
        images, texts: Embeddings of the other pairs, (R, E), L2-normalized.
        image_keys: What tells their images, (R,), int64 (`image_numbers`).
        temperature: T; 1 over CLIP's learnt scale.
    """

    images: Tensor
    texts: Tensor
    image_keys: Tensor
    temperature: float

    @classmethod
    def among(cls, images: Tensor, texts: Tensor, image_keys: Sequence[str], temperature: float) -> "NegClip":
        """Scores among these pairs, those left out that lack an embedding."""
        images, texts = _unit(images), _unit(texts)
        known = ~(images.isnan().any(1) | texts.isnan().any(1))
        return cls(images[known], texts[known], image_numbers(image_keys)[known], temperature)

    def __call__(self, images: Tensor, texts: Tensor, image_keys: Sequence[str]) -> Tensor:
        """Scores of pairs, (N,); NaN where an embedding is missing, or there is no other pair."""
        numbers, found = image_numbers(image_keys), []
        for start in range(0, len(images), _ROWS):
            rows = slice(start, start + _ROWS)
            a, b = _unit(images[rows]), _unit(texts[rows])
            is_own = numbers[rows, None] == self.image_keys
            others = (~is_own).sum(1).log()
            score = 2 * (a * b).sum(1) / self.temperature + 2 * others
            for similarity in (a @ self.texts.T, b @ self.images.T):
                score -= (similarity / self.temperature).masked_fill(is_own, float("-inf")).logsumexp(1)
            found.append(score.masked_fill(is_own.all(1), float("nan")))
        return torch.cat(found) if found else torch.zeros(0)

    def save(self, path: Path) -> None:
        save_file({name: getattr(self, name).contiguous() for name in _TENSORS}, path)

    @classmethod
    def load(cls, path: Path, temperature: float) -> "NegClip":
        """What was saved.

        Raises:
            ValueError: If the file holds none.
        """
        try:
            tensors = load_file(path)
            return cls(*(tensors[name] for name in _TENSORS), temperature)
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{path} holds no pairs to compare with ({error}). Use `--restart score`.") from error


def image_numbers(keys: Sequence[str]) -> Tensor:
    """A number of 64 bits for each image key, (N,), int64, the same for the same key."""
    return torch.from_numpy(draw_priority(keys, 0).view(np.int64))


def _unit(features: Tensor) -> Tensor:
    """L2-normalized rows, float32; NaN where all is 0."""
    features = features.float()
    return F.normalize(features, dim=-1).masked_fill((features == 0).all(-1, keepdim=True), float("nan"))
