"""A small retrieval model that tells one training set from another in seconds.

Projection heads over frozen image and text features, trained by the image-text contrastive loss (CLIP,
arXiv:2103.00020, fig. 3) and scored by recall. Every training set gets the same number of steps.

Shapes: N pairs, I images, T captions, D and W feature widths.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavis_tldr.models.fixed_steps import train_steps


@dataclass(frozen=True)
class ProxyOptions:
    """How the proxy is trained.

    Attributes:
        num_steps: Updates, the same for every training set.
        batch_size: Pairs a step.
        learning_rate: Peak, reached after a tenth of the steps and decayed by half a cosine.
        weight_decay: Of AdamW.
        width: Of the common space.
        hidden: Width of a hidden layer in both heads; 0 makes them linear.
    """

    num_steps: int = 1000
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    width: int = 256
    hidden: int = 0


class RetrievalProxy(nn.Module):
    """Maps frozen features into one space, where a caption lies near its image."""

    def __init__(self, image_width: int, text_width: int, options: ProxyOptions):
        super().__init__()
        self.image_head = _head(image_width, options)
        self.text_head = _head(text_width, options)
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    def embed_images(self, features: Tensor) -> Tensor:
        """(I, D) -> (I, width), L2-normalized."""
        return F.normalize(self.image_head(features), dim=-1)

    def embed_texts(self, features: Tensor) -> Tensor:
        """(T, W) -> (T, width), L2-normalized."""
        return F.normalize(self.text_head(features), dim=-1)

    def forward(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """Symmetric contrastive loss of N pairs, (N, D) and (N, W)."""
        logits = self.embed_images(image_features) @ self.embed_texts(text_features).T
        logits = logits * self.log_scale.exp().clamp(max=100)
        target = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _head(width: int, options: ProxyOptions) -> nn.Module:
    if not options.hidden:
        return nn.Linear(width, options.width)
    return nn.Sequential(nn.Linear(width, options.hidden), nn.GELU(), nn.Linear(options.hidden, options.width))


def train_proxy(image_features: Tensor, text_features: Tensor, options: ProxyOptions, seed: int) -> RetrievalProxy:
    """Train on N pairs for a fixed number of steps; the same seed gives the same model.

    Args:
        image_features: (N, D).
        text_features: (N, W); or (N, A, W) of A captions an image, of which one is drawn at every epoch.
        options: How long, and so on.
        seed: Of the first weights and of the order of the pairs.

    Raises:
        ValueError: If there are fewer pairs than a batch takes.
    """
    if len(image_features) < options.batch_size:
        raise ValueError(
            f"{len(image_features)} pairs don't fill a batch of {options.batch_size}: lower batch_size (an ablation's "
            "proxy.batch_size), or train on more pairs."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RetrievalProxy(image_features.shape[1], text_features.shape[-1], options)
    generator = torch.Generator().manual_seed(seed)

    def loss_of(rows: Tensor) -> Tensor:
        return model(image_features[rows], _texts_of(text_features, rows, generator))

    train_steps(model, loss_of, len(image_features), options, generator)
    return model.eval()


def _texts_of(text_features: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """The texts of a batch, (B, W); of several captions of an image one is drawn, a row being in one batch an epoch."""
    if text_features.ndim == 2:
        return text_features[rows]
    return text_features[rows, torch.randint(text_features.shape[1], (len(rows),), generator=generator)]


def recall_at(ranks: np.ndarray, k: int) -> float:
    """Share of the queries whose own is among the first k, in percent; ranks count from 0."""
    return 100 * float((ranks < k).mean())


_WAYS = ("tr", "ir")  # image to text, text to image
_RECALLS = ("r1", "r5", "r10")
# What is told of the ranks of a way's queries, (n,), from 0.
MEASURES: dict[str, Callable[[np.ndarray], float]] = {name: partial(recall_at, k=int(name[1:])) for name in _RECALLS}
METRICS = ("mean_recall", *(f"{way}_{name}" for way in _WAYS for name in MEASURES))


def retrieval_metrics(similarity: np.ndarray, image_of: Sequence[int]) -> dict[str, float]:
    """`METRICS` of a retrieval, both ways.

    Args:
        similarity: Of images and captions, (I, T).
        image_of: Row of each caption's image, (T,).

    Returns:
        By name: `MEASURES` as ``tr_r1`` ... (image to text, by the image's best-placed caption) and ``ir_r1`` ... (text
        to image), and ``mean_recall``, the mean of the six recalls. An equally similar other counts as ahead.
    """
    image_of = np.asarray(image_of)
    own = similarity[image_of, np.arange(len(image_of))]  # (T,)
    ahead_of_caption = (similarity >= own[None]).sum(0) - 1  # images ahead of the right one, (T,)
    best = np.full(len(similarity), np.inf)
    for caption, image in enumerate(image_of):  # an image counts by its best-placed caption
        others = similarity[image][image_of != image]
        best[image] = min(best[image], float((others >= own[caption]).sum()))
    ranks = dict(zip(_WAYS, (best, ahead_of_caption), strict=True))
    found = {f"{way}_{name}": measure(ranks[way]) for way in _WAYS for name, measure in MEASURES.items()}
    recalls = [found[f"{way}_{name}"] for way in _WAYS for name in _RECALLS]
    return {**found, "mean_recall": float(np.mean(recalls))}
