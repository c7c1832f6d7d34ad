"""How much a pair contributes to the gradient of a tiny image-text network (paper, sec. 4.1, gradient-based selection).

Shapes: N pairs, R other pairs, D image feature width, T tokens, W and E widths of the network, V tokens it knows.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lavis_tldr.models.fixed_steps import train_steps
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.scoring.tiny_vlp import PAD, States, TinyVLP, matching_losses


@dataclass(frozen=True)
class TrainingOptions:
    """See `lavis_tldr.models.fixed_steps.StepOptions`."""

    num_steps: int = 400
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.01


_OPTIONS = TrainingOptions()
_UNKNOWN = PAD + 1
_MAX_TOKENS = 2000  # with the rest as unknown; the vocabulary layer takes most of the time
_NUM_OTHERS = 256
_BLOCK = 128  # pairs scored at once


@dataclass
class TokenPairs:
    """Image-text pairs as the network takes them.

    Attributes:
        image_keys: N keys of the images; pairs of one image share one.
        images: Frozen features, (N, D).
        tokens: Token ids of each caption, by any tokenizer; at least two (start and end).
    """

    image_keys: Sequence[str]
    images: Tensor
    tokens: Sequence[Sequence[int]]

    def __len__(self) -> int:
        return len(self.tokens)

    def at(self, rows: Tensor) -> "TokenPairs":
        keys, tokens = ([values[row] for row in rows.tolist()] for values in (self.image_keys, self.tokens))
        return TokenPairs(keys, self.images[rows], tokens)


class GradientScorer:
    """Gradient norm of a pair (`fit_gradients`).

    The norm of the gradient of the sum of ITC, ITM and LM loss of the pair alone, with respect to weights and biases of
    the network's last layer: the projections of image and text into the contrastive space, the classifier of matches
    and the vocabulary layer. Each loss is weighted to have a mean squared gradient of 1 over the R others: unweighted,
    ITC with its low temperature would decide alone. The losses are those of training, but the negatives come from R
    pairs that were drawn once, those of its own image left out, so that a pair's score does not depend on where it
    stands:

    - ITC: mean over both ways of -log softmax of its own similarity among its own and that to the others, which carry
      no gradient, like the queue of ALBEF (arXiv:2107.07651, sec. 3.2).
    - ITM: mean over the pair, its caption with the other image, and its image with the other caption, that are the
      likeliest by ITC (the lower row wins a tie).
    - LM: mean over the caption's tokens.

    Args:
        mean, spread: Image features are standardized by, (D,).
        known: Token ids that the network tells apart, sorted, (V - 2,).
        network: The trained network.
        others: States of the R other pairs.
        other_images: What tells their images (`_image_ids`), (R,).
        weights: Squared weight of each loss, (3,).
    """

    def __init__(
        self,
        mean: Tensor,
        spread: Tensor,
        known: Tensor,
        network: TinyVLP,
        others: States,
        other_images: Tensor,
        weights: Tensor,
    ):
        self.mean, self.spread, self.known, self.weights = mean, spread, known, weights
        self.network = network.requires_grad_(False).eval()
        self.others, self.other_images = others, other_images

    def save(self, path: Path) -> None:
        """Write all tensors; the same scorer gives the same bytes."""
        own = {name: getattr(self, name) for name in ("mean", "spread", "known", "other_images", "weights")}
        network = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        save_file({**own, **network, **{f"others.{name}": x for name, x in self.others._asdict().items()}}, path)

    @classmethod
    def load(cls, path: Path) -> "GradientScorer":
        """The scorer that was saved.

        Raises:
            ValueError: If the file holds none.
        """
        try:
            found = load_file(path)
            network = TinyVLP(len(found["mean"]), len(found["known"]) + 2)
            network.load_state_dict({k.removeprefix("network."): x for k, x in found.items() if "network." in k})
            others = States(found["others.image"], found["others.text"])
            drawn = others, found["other_images"], found["weights"]
            return cls(found["mean"], found["spread"], found["known"], network, *drawn)
        except (SafetensorError, KeyError, RuntimeError) as error:
            raise ValueError(f"{path} holds no fitted network ({error}). Use `--restart gradient`.") from error

    def __call__(self, pairs: TokenPairs) -> np.ndarray:
        """Gradient norms of pairs, in the sample or not, (N,), float32."""
        return (self.squares(pairs) @ self.weights).sqrt().numpy()

    def squares(self, pairs: TokenPairs) -> Tensor:
        """Squared gradient norms of ITC, ITM and LM, (N, 3)."""
        squares = torch.empty(len(pairs), 3)
        lengths = torch.tensor([len(caption) for caption in pairs.tokens], dtype=torch.int64)
        for rows in lengths.argsort(stable=True).split(_BLOCK):  # little padding in a block
            if len(rows):
                squares[rows] = self._squares(pairs.at(rows))
        return squares

    def _squares(self, pairs: TokenPairs) -> Tensor:
        """Squared gradient norms of a block, (N, 3), in closed form.

        A linear layer's gradient for one pair is a sum of outer products of the gradients at its outputs and its
        inputs (and 1, for the bias), so that its norm needs no more than these (arXiv:1510.01799).
        """
        network, tokens = self.network, padded(pairs.tokens, self.known)
        own = network.states((pairs.images - self.mean) / self.spread, tokens)
        image, text = (network.last[name](x).requires_grad_() for name, x in own._asdict().items())  # (N, E)
        is_own = _image_ids(pairs.image_keys)[:, None] == self.other_images  # (N, R)
        itc, hard_image, hard_text = self._contrastive_losses(image, text, is_own)
        fused = network.matched(own, self.others.image[hard_image], self.others.text[hard_text])  # (N, 3, W)
        match = network.last["match"](fused).requires_grad_()  # (N, 3, 2)
        written = network.written(own.image, tokens)  # (N, T - 1, W)
        token = network.last["token"](written).requires_grad_()  # (N, T - 1, V)
        losses = itc + matching_losses(match) + _token_losses(token, tokens[:, 1:])
        inputs = own.image[:, None], own.text[:, None], fused, written
        gradients = torch.autograd.grad(losses.sum(), [image, text, match, token])
        found = (_squared_norm(x, g.view(*x.shape[:2], -1)) for x, g in zip(inputs, gradients, strict=True))
        of_image, of_text, of_match, of_token = found
        return torch.stack([of_image + of_text, of_match, of_token], 1)

    def _contrastive_losses(self, image: Tensor, text: Tensor, is_own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ITC loss of each pair, (N,), and rows of the image and the caption that are hardest to tell from its own."""
        last, scale = self.network.last, self.network.scale
        image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
        other_images, other_texts = (F.normalize(last[name](x), dim=-1) for name, x in self.others._asdict().items())
        own = scale * (image * text).sum(1)
        to_texts = (scale * image @ other_texts.T).masked_fill(is_own, float("-inf"))  # (N, R)
        to_images = (scale * text @ other_images.T).masked_fill(is_own, float("-inf"))
        losses = [torch.cat([own[:, None], others], 1).logsumexp(1) - own for others in (to_texts, to_images)]
        return sum(losses) / 2, to_images.argmax(1), to_texts.argmax(1)


def fit_gradients(sample: TokenPairs, seed: int) -> GradientScorer:
    """Train the network on pairs, and draw those that others are told from.

    Args:
        sample: Pairs to learn from.
        seed: Of the training and of the draw.

    Raises:
        ValueError: If there are no pairs of different images.
    """
    ids = _image_ids(sample.image_keys)
    if (num_images := len(ids.unique())) < 2:
        raise ValueError(
            f"run.selection gradient tells pairs from those of other images: {len(sample)} pairs of {num_images} "
            "images are too few."
        )
    options = replace(_OPTIONS, batch_size=min(_OPTIONS.batch_size, len(sample)))
    mean, spread = sample.images.mean(0), sample.images.std(0).clamp(min=1e-6)
    known = known_tokens(sample.tokens)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TinyVLP(len(mean), len(known) + 2)
    generator = torch.Generator().manual_seed(seed)

    def inputs_of(pairs: TokenPairs) -> tuple[Tensor, Tensor]:
        # Standardized batch by batch: a second copy of a large sample's features takes gigabytes.
        return (pairs.images - mean) / spread, padded(pairs.tokens, known)

    def loss_of(rows: Tensor) -> Tensor:
        return network(*inputs_of(sample.at(rows)), generator)

    with _one_thread():
        train_steps(network, loss_of, len(sample), options, generator)
    rows = torch.randperm(len(sample), generator=generator)[:_NUM_OTHERS]
    others = sample.at(rows)
    with torch.no_grad():
        states = network.states(*inputs_of(others))
    scorer = GradientScorer(mean, spread, known, network, states, ids[rows], torch.ones(3))
    scorer.weights = 1 / scorer.squares(others).mean(0)
    return scorer


@contextmanager
def _one_thread() -> Iterator[None]:
    """More gain nothing on matrices so small, wait for each other where cores are shared, and round otherwise."""
    number = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(number)


def known_tokens(captions: Sequence[Sequence[int]]) -> Tensor:
    """The most frequent token ids, at most ``_MAX_TOKENS``, sorted; the lower id wins a tie."""
    counts = Counter(token for caption in captions for token in caption)
    ranked = sorted(counts, key=lambda token: (-counts[token], token))
    return torch.tensor(sorted(ranked[:_MAX_TOKENS]))


def padded(captions: Sequence[Sequence[int]], known: Tensor) -> Tensor:
    """Token ids as the network's tokens, padded at the end, (N, T)."""
    rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(caption) for caption in captions], True, -1)
    places = torch.searchsorted(known, rows).clamp(max=len(known) - 1)
    tokens = torch.where(known[places] == rows, places + _UNKNOWN + 1, _UNKNOWN)
    return tokens.masked_fill(rows == -1, PAD)


def _image_ids(keys: Sequence[str]) -> Tensor:
    """A number that tells images apart, (N,), int64."""
    return torch.from_numpy(draw_priority(keys, seed=0).view(np.int64))


def _token_losses(scores: Tensor, target: Tensor) -> Tensor:
    """Mean loss over the tokens of each caption, (N,)."""
    losses = F.cross_entropy(scores.transpose(1, 2), target, ignore_index=PAD, reduction="none")
    return losses.sum(1) / (target != PAD).sum(1)


def _squared_norm(inputs: Tensor, gradients: Tensor) -> Tensor:
    """Squared norm of a linear layer's gradient for each pair, (N,), from K inputs (N, K, W) and outputs (N, K, O)."""
    return ((gradients @ gradients.mT) * (inputs @ inputs.mT + 1)).sum((1, 2))
