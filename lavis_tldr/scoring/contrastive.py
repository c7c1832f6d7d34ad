"""How well a caption fits its image, judged by small contrastive models that never saw the pair.

Shapes: N samples, D and W feature widths, F folds.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lavis_tldr.evaluation.retrieval_proxy import ProxyOptions, RetrievalProxy, train_proxy
from lavis_tldr.reduction.draw import draw_priority

_NUM_FOLDS = 4
_NUM_ROUNDS = 4
_MAX_CONTRAST = 4096
# Linear heads: their widths stand in their weights.
_OPTIONS = ProxyOptions(num_steps=600, learning_rate=3e-4)


@dataclass
class Pairs:
    """Features of image-text pairs, row by row.

    Attributes:
        keys: N keys of their images; pairs of one image fall into one fold.
        images: (N, D).
        texts: (N, W).
    """

    keys: list[str]
    images: Tensor
    texts: Tensor


class ContrastiveScorer:
    """Scores pairs by cross-fitted projection heads over frozen image and text features (`fit_contrastive`).

    The score is the pointwise mutual information of the contrastive model, both ways: log-softmax of the pair's
    similarity among drawn captions of its fold, plus that among drawn images, each over the log of their number. It
    is above 0 where the model finds the pair likelier than chance.

    Args:
        mean, spread: Image features are standardized by, (D,).
        rounds: A model for each fold, round by round.
        seed: Of the folds.
    """

    def __init__(self, mean: Tensor, spread: Tensor, rounds: "list[list[_FoldModel]]", seed: int):
        self.mean, self.spread, self.rounds, self.seed = mean, spread, rounds, seed

    def save(self, path: Path) -> None:
        """Write all tensors; the same scorer gives the same bytes."""
        tensors = {"mean": self.mean, "spread": self.spread}
        for number, models in enumerate(self.rounds):
            for fold, model in enumerate(models):
                tensors |= {f"{number}.{fold}.{name}": value.contiguous() for name, value in model.tensors().items()}
        save_file(tensors, path)

    @classmethod
    def load(cls, path: Path, seed: int) -> "ContrastiveScorer":
        """The scorer that was saved.

        Raises:
            ValueError: If the file holds none.
        """
        try:
            tensors = load_file(path)
            rounds = [
                [_FoldModel.from_tensors(tensors, f"{number}.{fold}.") for fold in range(_NUM_FOLDS)]
                for number in range(_NUM_ROUNDS)
            ]
            return cls(tensors["mean"], tensors["spread"], rounds, seed)
        except (SafetensorError, KeyError, RuntimeError) as error:
            raise ValueError(f"{path} holds no fitted scorer ({error}). Use `--restart score`.") from error

    def __call__(self, pairs: Pairs, folds: np.ndarray | None = None) -> np.ndarray:
        """Scores of pairs, in the sample or not, (N,), float32.

        Args:
            pairs: The pairs.
            folds: The fold of each whose heads score it in every round, (N,); None: that of its key in each round.
        """
        if not pairs.keys:
            return np.zeros(0, np.float32)
        images = self.standardized(pairs.images)
        by_round = {n: self.folds(pairs.keys, n) if folds is None else folds for n in range(1, len(self.rounds))}
        scores = [self.score_round(n, split, images, pairs.texts) for n, split in by_round.items()]
        return torch.stack(scores).mean(0).numpy().astype(np.float32)

    def standardized(self, images: Tensor) -> Tensor:
        return (images - self.mean).div_(self.spread)  # in place: of a large sample each copy takes gigabytes

    def folds(self, keys: list[str], number: int) -> np.ndarray:
        """Fold of each key, another split in every round, (N,)."""
        return folds_of(keys, self.seed + number)

    def score_round(self, number: int, folds: np.ndarray, images: Tensor, texts: Tensor) -> Tensor:
        scores = torch.empty(len(folds))
        for fold, model in enumerate(self.rounds[number]):
            rows = torch.from_numpy(np.flatnonzero(folds == fold))
            scores[rows] = model.score(images[rows], texts[rows])
        return scores


def folds_of(keys: list[str], seed: int) -> np.ndarray:
    """A fold for each key, (N,), int64, by the key and the seed alone."""
    return (draw_priority(keys, seed) % np.uint64(_NUM_FOLDS)).astype(np.int64)


def fit_contrastive(
    sample: Pairs, trusted: Pairs | None, seed: int, trusted_folds: np.ndarray | None = None
) -> ContrastiveScorer:
    """Fit a scorer by cross-fitting.

    The samples are split into folds by their images' keys, and a pair is scored by heads trained on the other folds, so
    neither a wrong pair nor another caption of its image can have been learnt by heart. Rounds: the first trains on all
    pairs, each later one on the better half by the scores so far; the rounds after the first are averaged. Pairs known
    to be right, where there are any, are trained on in every round.

    Args:
        sample: Pairs to learn from, in an order that does not depend on the parts.
        trusted: Pairs known to be right, or None.
        seed: Of folds and training.
        trusted_folds: A fold of each trusted pair, (M,), whose heads are kept from it in every round, so that they can
            score it; None: all heads learn from all trusted pairs.

    Raises:
        ValueError: If there are too few pairs to train on.
    """
    scorer = ContrastiveScorer(sample.images.mean(0), sample.images.std(0).clamp(min=1e-6), [], seed)
    images = scorer.standardized(sample.images)
    right = None if trusted is None else (scorer.standardized(trusted.images), trusted.texts)
    scores = torch.zeros(len(sample.keys))
    better = torch.ones(len(sample.keys), dtype=torch.bool)
    for number in range(_NUM_ROUNDS):
        folds = scorer.folds(sample.keys, number)
        models = []
        for fold in range(_NUM_FOLDS):
            rows = torch.from_numpy(folds != fold) & better
            held_out = torch.from_numpy(np.flatnonzero(folds == fold)[:_MAX_CONTRAST])
            others = images[held_out], sample.texts[held_out]
            taught = right
            if right is not None and trusted_folds is not None:
                taught = tuple(features[torch.from_numpy(trusted_folds != fold)] for features in right)
            _check_number(sample, int(rows.sum()) + (0 if taught is None else 2 * len(taught[0])))
            models.append(_fit(images[rows], sample.texts[rows], taught, *others, seed + number))
        scorer.rounds.append(models)
        latest = scorer.score_round(number, folds, images, sample.texts)
        scores = latest if number <= 1 else scores + latest
        better = scores > scores.median()
    return scorer


@dataclass
class _FoldModel:
    """Heads that never saw a fold, and drawn pairs of that fold to compare with, embedded."""

    heads: RetrievalProxy
    other_images: Tensor
    other_texts: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return {**self.heads.state_dict(), "other_images": self.other_images, "other_texts": self.other_texts}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], prefix: str) -> "_FoldModel":
        """The model whose tensors have names with this prefix."""
        found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        other_images, other_texts = found.pop("other_images"), found.pop("other_texts")
        heads = RetrievalProxy(found["image_head.weight"].shape[1], found["text_head.weight"].shape[1], _OPTIONS)
        heads.load_state_dict(found)
        return cls(heads, other_images, other_texts)

    @torch.no_grad()
    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        scale = self._scale
        found = []
        for image, text in zip(images.split(4096), texts.split(4096), strict=True):
            a, b = self.heads.embed_images(image), self.heads.embed_texts(text)
            own = scale * (a * b).sum(1)
            by_caption = (scale * a @ self.other_texts.T).logsumexp(1)
            by_image = (scale * b @ self.other_images.T).logsumexp(1)
            found.append(2 * own - by_caption - by_image + 2 * np.log(len(self.other_texts)))
        return torch.cat(found) if found else torch.zeros(0)

    @torch.no_grad()
    def embed_bank(self, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Captions (B, W) as `score_bank` takes them: embedded, (B, width), and what each scores with others, (B,)."""
        embedded = self.heads.embed_texts(texts)
        others = [(self._scale * block @ self.other_images.T).logsumexp(1) for block in embedded.split(4096)]
        return embedded, torch.cat(others)

    @torch.no_grad()
    def score_bank(self, images: Tensor, bank: tuple[Tensor, Tensor]) -> Tensor:
        """Scores of each image (N, D) with each caption of `embed_bank`, (N, B), as `score` gives them for pairs."""
        embedded, by_image = bank
        a = self.heads.embed_images(images)
        by_caption = (self._scale * a @ self.other_texts.T).logsumexp(1)
        own = self._scale * a @ embedded.T
        return 2 * own - by_caption[:, None] - by_image + 2 * np.log(len(self.other_texts))

    @property
    def _scale(self) -> Tensor:
        return self.heads.log_scale.exp().clamp(max=100)


def _check_number(sample: Pairs, num_to_train_on: int) -> None:
    if num_to_train_on < _OPTIONS.batch_size:
        raise ValueError(
            f"run.alignment contrastive learns from the pairs that it scores, and {len(sample.keys)} are too few: "
            f"about {_OPTIONS.batch_size * 8 // 3 + 64} are needed. Set run.alignment to likelihood, or give pairs "
            "known to be right in datasets.tldr_captions.train."
        )


def _fit(
    images: Tensor,
    texts: Tensor,
    right: tuple[Tensor, Tensor] | None,
    other_images: Tensor,
    other_texts: Tensor,
    seed: int,
) -> _FoldModel:
    if right is not None:
        # Twice: they are few, and each is worth more than a pair that may be wrong.
        images, texts = torch.cat([images, right[0], right[0]]), torch.cat([texts, right[1], right[1]])
    heads = train_proxy(images, texts, _OPTIONS, seed)
    with torch.no_grad():
        return _FoldModel(heads, heads.embed_images(other_images), heads.embed_texts(other_texts))
