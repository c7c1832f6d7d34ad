"""How well a caption fits its image, judged by the trained captioner."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.sentence_encoder import SentenceEncoder
from lavis_tldr.tasks.reduce_config import ReduceConfig

BOTH = ("likelihood_gain", "similarity")
# What the score stage writes for each kind of alignment.
COLUMNS = {
    "contrastive": ("contrast",),
    "likelihood": ("likelihood_gain",),
    "similarity": ("similarity",),
    "both": BOTH,
    "itm": ("itm",),
    "itc": ("itc",),
}


class CaptionScorer:
    """Scores captions by the captioner that knows the images' codes.

    Two scores, neither of which needs another image-text model:

    - ``likelihood_gain``: how much likelier the captioner finds the caption, by the token, with its own image than
      with others: log p(T | image) - log mean over other images of p(T | other image). The pointwise mutual
      information of caption and image, with the marginal estimated from drawn images. What a caption is worth as
      language (length, common words) cancels out.
    - ``similarity``: cosine of the sentence embeddings of the original and the generated caption.

    Args:
        model: The trained captioner, in eval mode.
        config: The run's settings.
        others: Codes of the images that a caption's likelihood is compared over, (R, L).
        sentences: For ``similarity``; None leaves it out.
    """

    def __init__(
        self,
        model: CodebookCaptioner,
        config: ReduceConfig,
        others: np.ndarray,
        sentences: SentenceEncoder | None = None,
    ):
        self.model, self.config, self.sentences = model, config, sentences
        self.others = torch.from_numpy(others.astype(np.int64)).to(model.device)

    def __call__(self, codes: Tensor, captions: list[str], generated: list[str]) -> dict[str, np.ndarray]:
        """Scores of captions.

        Args:
            codes: (N, L).
            captions: N captions, one an image.
            generated: N captions that the captioner has generated; for ``similarity``.

        Returns:
            ``likelihood_gain`` and ``similarity``, (N,), float32: those that ``config.alignment`` asks for.
        """
        scores = {}
        if self.config.alignment != "similarity":
            size = self.config.batch_size_eval
            starts = range(0, len(captions), size)
            gains = [self.likelihood_gain(codes[i : i + size], captions[i : i + size]).cpu() for i in starts]
            scores["likelihood_gain"] = torch.cat([torch.zeros(0), *gains]).numpy()
        if self.sentences is not None and self.config.scores_use_captions:
            both = self.sentences([*captions, *generated])
            scores["similarity"] = (both[: len(captions)] * both[len(captions) :]).sum(1).numpy()
        return scores

    def likelihood_gain(self, codes: Tensor, captions: list[str]) -> Tensor:
        """See the class, (N,). NaN where no other image was drawn, or the captioner knows no token of a caption."""
        own, num_tokens = self.model.caption_log_likelihood(codes, captions)
        others = torch.stack([self.model.caption_log_likelihood(other[None], captions)[0] for other in self.others])
        # Among so few images the own one would count for much: a right caption would seem to gain little.
        is_other = (self.others[:, None] != codes).any(-1)  # (R, N)
        others = others.masked_fill(~is_other, float("-inf"))
        marginal = others.logsumexp(0) - is_other.sum(0).log()
        gain = (own - marginal) / num_tokens
        return gain.masked_fill(~is_other.any(0), float("nan"))


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of a score over a set."""

    mean: float
    deviation: float

    @classmethod
    def over(cls, blocks: Callable[[], Iterable[np.ndarray]]) -> "Moments":
        """Of all blocks' values, NaN left out; each call of ``blocks`` gives them anew, in the same order."""
        count, mean = _sum(blocks(), lambda x: x)
        mean = mean / count if count else 0.0
        squares = _sum(blocks(), lambda x: (x - mean) ** 2)[1]
        return cls(mean, math.sqrt(squares / count) if squares else 1.0)

    def standardize(self, x: np.ndarray) -> np.ndarray:
        return (x.astype(np.float64) - self.mean) / self.deviation


def _sum(blocks: Iterable[np.ndarray], of: Callable[[np.ndarray], np.ndarray]) -> tuple[int, float]:
    known = (block[~np.isnan(block)].astype(np.float64) for block in blocks)
    sums = [(len(block), float(of(block).sum())) for block in known]
    return sum(count for count, _ in sums), math.fsum(total for _, total in sums)


def combine_scores(scores: Mapping[str, np.ndarray], kind: str, moments: Mapping[str, Moments]) -> np.ndarray:
    """One alignment score a sample, higher is better.

    Args:
        scores: The columns that belong to the kind (``COLUMNS``), (N,) each.
        kind: of `COLUMNS`; both is the mean of its two, each standardized.
        moments: For both: of the two scores over the whole set.

    Returns:
        (N,), float32; NaN where a score that is asked for is NaN.
    """
    if kind == "both":
        standardized = [moments[name].standardize(scores[name]) for name in BOTH]
        return (sum(standardized) / len(standardized)).astype(np.float32)
    (column,) = COLUMNS[kind]
    return scores[column].astype(np.float32)
