"""The ways in which a caption's fit to its image is scored (``run.alignment``), and one score out of several.

How each is computed is ``lavis_tldr.scoring``'s business; this table is what the rest needs to know of it.

Shapes: N samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Alignment:
    """A way to score how well a caption fits its image; higher is better.

    Attributes:
        columns: What the stage ``score`` writes: name of each column, and what it is.
        threshold: The score from which on a caption fits, where that is plain: above 0 where image and caption are
            likelier together than by chance (pointwise mutual information), above 0.5 where a match is as likely as
            not; else None.
        embeds_captions: Whether it needs a sentence encoder.
        uses_blip: Whether it needs BLIP.
        uses_captions: Whether it compares the caption with the generated one.
        knows_originals_alone: Whether it has scores of the original captions alone, and can't score any other.
    """

    columns: Mapping[str, str]
    threshold: float | None = None
    embeds_captions: bool = False
    uses_blip: bool = False
    uses_captions: bool = False
    knows_originals_alone: bool = False


MIXTURE, FITTED = "mixture", "fitted"
_LIKELIHOOD = {"likelihood_gain": "How much likelier the captioner finds the caption with its own image, by the token."}
_SIMILARITY = {"similarity": "Cosine of the sentence embeddings of the original and the generated caption."}
ALIGNMENTS = {
    "contrastive": Alignment({"contrast": "Score of the fitted heads."}, 0.0, embeds_captions=True),
    "likelihood": Alignment(_LIKELIHOOD, 0.0),
    "similarity": Alignment(_SIMILARITY, embeds_captions=True, uses_captions=True),
    "both": Alignment({**_LIKELIHOOD, **_SIMILARITY}, embeds_captions=True, uses_captions=True),
    "itm": Alignment({"itm": "Probability of a match by BLIP."}, 0.5, uses_blip=True),
    "itc": Alignment({"itc": "Cosine of image and caption by BLIP."}, uses_blip=True),
    # Its sentence encoder is needed where captions are compared, too (run.normsim_of).
    "normsim": Alignment({"normsim": "Similarity of image and caption to the target (NormSim)."}),
    "given": Alignment({"given": "Score of the given embeddings, or the given score."}, knows_originals_alone=True),
    # Of the kinds that run.mixture names: their columns.
    MIXTURE: Alignment({}),
}
MIXABLE = tuple(kind for kind, alignment in ALIGNMENTS.items() if len(alignment.columns) == 1)


def natural_threshold(kind: str, mixture: object = None) -> float | None:
    """The score from which on a caption fits, None where that is not plain.

    Args:
        kind: One of `ALIGNMENTS`.
        mixture: `run.mixture`: fitted weights give log-odds, above 0 where a pair is likelier right than swapped.
    """
    return 0.0 if kind == MIXTURE and mixture == FITTED else ALIGNMENTS[kind].threshold


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of a score over a set."""

    mean: float
    deviation: float

    @classmethod
    def over(cls, blocks: Callable[[], Iterable[np.ndarray]]) -> Moments:
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


def combine_scores(
    scores: Mapping[str, np.ndarray],
    weights: Mapping[str, float],
    moments: Mapping[str, Moments],
    intercept: float = 0.0,
) -> np.ndarray:
    """One alignment score a sample, higher is better: the weighted sum of columns, each standardized.

    Args:
        scores: By column, (N,) each.
        weights: Of the columns that count.
        moments: Of each of these columns; none where a single one is taken as it is.
        intercept: Added to the sum.

    Returns:
        (N,), float32; NaN where a score that counts is NaN.
    """
    if not moments:
        (column,) = weights
        return scores[column].astype(np.float32)
    total = sum(weight * moments[name].standardize(scores[name]) for name, weight in weights.items())
    return (total + intercept).astype(np.float32)
