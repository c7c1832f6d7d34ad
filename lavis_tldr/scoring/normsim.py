"""How like a pair is to a target set: NormSim of its image and caption (Wang et al. 2024, arXiv:2405.19547).

NormSim_p(x) = || X f(x) ||_p, where the rows of X are the features of the target. Differs from the paper: f is the
captioner's encoder and not CLIP's, and captions may count as well as images.

It tells whether image and caption are of the target's kind, each by itself, and nothing of whether the caption is the
image's. So it ranks, and there is no score from which on a caption fits.

Shapes: N pairs, M target images, T target captions, D and W feature widths.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

NEAREST, SQUARES = "inf", "2"
NORMS = (NEAREST, SQUARES)
_ROWS, _TARGETS = 1024, 8192  # compared at once: 32 MiB of similarities
_TENSORS = ("mean", "spread", "images", "texts", "image_folds", "text_folds")


def norm_similarity(features: Tensor, targets: Tensor, p: str) -> Tensor:
    """NormSim of features to targets, in bounded memory: all pairs of them are never held at once.

    Differs from the paper for p = 2: the root of the mean of the squares, not of their sum, so that targets of other
    sizes, and images and captions of one, give numbers of one range. The order is the same.

    Args:
        features: (N, D), L2-normalized.
        targets: (M, D), likewise, of any float type.
        p: ``inf``: the similarity to the nearest target. ``2``: the root of the mean squared similarity to all.

    Returns:
        (N,), float32; NaN where there is no target.
    """
    if not len(targets):
        return torch.full((len(features),), float("nan"))
    found = []
    for rows in features.split(_ROWS):
        nearest = torch.full((len(rows),), float("-inf"), device=rows.device)
        squares = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        for block in targets.split(_TARGETS):
            similarity = rows @ block.to(rows).T
            if p == NEAREST:
                nearest = torch.maximum(nearest, similarity.amax(1))
            else:
                squares += similarity.double().square().sum(1)
        found.append(nearest if p == NEAREST else (squares / len(targets)).sqrt().float())
    return torch.cat(found) if found else torch.zeros(0)


@dataclass
class NormSim:
    """NormSim of pairs to a target; where captions count as well, the mean of the image's and the caption's.

    Attributes:
        mean, spread: Image features are standardized by, (D,).
        images: The target's standardized image features, (M, D), L2-normalized, float16 as encode stores features.
        texts: Sentence embeddings of its captions, (T, W), likewise; T is 0 where captions do not count, or it has
            none.
        image_folds, text_folds: A fold of each, (M,) and (T,), int64: pairs of the target itself are scored without
            those of their own fold.
        p: One of `NORMS`.
        device: Where it is computed.
    """

    mean: Tensor
    spread: Tensor
    images: Tensor
    texts: Tensor
    image_folds: Tensor
    text_folds: Tensor
    p: str = NEAREST
    device: str = "cpu"

    def __call__(self, images: Tensor, texts: Tensor | None, folds: np.ndarray | None = None) -> np.ndarray:
        """Scores of pairs, (N,), float32.

        Args:
            images: Pooled features, (N, D).
            texts: Sentence embeddings of the captions, (N, W); None where captions do not count.
            folds: The fold of the target that each is scored without, (N,); None: all of the target counts.
        """
        images = standardize_images(images, self.mean, self.spread)
        texts = None if texts is None or not len(self.texts) else F.normalize(texts, dim=-1)
        found = torch.full((len(images),), float("nan"))
        for fold in [None] if folds is None else np.unique(folds).tolist():
            rows = slice(None) if fold is None else torch.from_numpy(np.flatnonzero(folds == fold))
            found[rows] = self._similarity(images[rows], self.images, self.image_folds, fold)
            if texts is not None:
                found[rows] = (found[rows] + self._similarity(texts[rows], self.texts, self.text_folds, fold)) / 2
        return found.numpy()

    def _similarity(self, features: Tensor, targets: Tensor, folds: Tensor, left_out: int | None) -> Tensor:
        targets = targets if left_out is None else targets[folds != left_out]
        return norm_similarity(features.to(self.device), targets, self.p).cpu()

    def save(self, path: Path) -> None:
        """Write all tensors; the same target gives the same bytes."""
        save_file({name: getattr(self, name).contiguous() for name in _TENSORS}, path)

    @classmethod
    def load(cls, path: Path, p: str, device: str) -> "NormSim":
        """The target that was saved.

        Raises:
            ValueError: If the file holds none.
        """
        try:
            tensors = load_file(path)
            return cls(*(tensors[name] for name in _TENSORS), p, device)
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{path} holds no target ({error}). Use `--restart score`.") from error


def standardize_images(images: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Image features (N, D) standardized and then L2-normalized: without that all images are alike."""
    return F.normalize((images - mean).div_(spread), dim=-1)
