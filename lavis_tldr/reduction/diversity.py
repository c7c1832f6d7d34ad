"""How unlike each other captions are: captions too alike teach nothing."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.words import PER_ROW, Counts, DistinctNumbers, SplitCaptions, Vocabulary


class Diversity:
    """How unlike each other captions are. Most measures depend on the number of captions: compare sets of one size."""

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self._num_captions = self._num_words = self._num_pairs = self._num_compared = 0
        self._counts, self._sums = Counts(), Counts(np.float64)
        self._captions, self._pairs = DistinctNumbers(), DistinctNumbers()

    def add(self, captions: pa.ChunkedArray, split: SplitCaptions) -> None:
        """Add captions, whole and split; empty ones don't count."""
        captions = captions.filter(pc.not_equal(captions, ""))
        follows = split.rows[1:] == split.rows[:-1]
        self._num_captions += len(captions)
        self._num_words += len(split.words)
        self._num_pairs += np.count_nonzero(follows)
        self._captions.add(draw_priority(captions.to_pylist(), 0))
        self._counts.add(split.words)
        self._pairs.add((split.words[:-1] * PER_ROW + split.words[1:])[follows])
        rows, words = split.uncommon()
        sizes = np.bincount(rows, minlength=1)
        self._num_compared += np.count_nonzero(sizes)
        self._sums.add(words, 1 / np.sqrt(sizes[rows]))

    def figures(self) -> dict:
        """The measures.

        Returns:
            ``captions``; ``words`` a caption; ``vocabulary``; ``distinct_captions``, ``distinct_1`` and ``distinct_2``:
            different captions, words and word pairs by their number (Li et al. 2016, arXiv:1510.03055); ``entropy`` of
            the words, in bits; ``similarity``: mean cosine of the uncommon words of two captions, over all pairs.
            What can't be said is None.
        """
        counts = self._counts.up_to(len(self.vocabulary))
        counts = counts[counts > 0]
        return {
            "captions": self._num_captions,
            "words": ratio(self._num_words, self._num_captions),
            "vocabulary": len(counts),
            "distinct_captions": ratio(len(self._captions), self._num_captions),
            "distinct_1": ratio(len(counts), self._num_words),
            "distinct_2": ratio(len(self._pairs), self._num_pairs),
            "entropy": _entropy(counts),
            "similarity": self._similarity(),
        }

    def _similarity(self) -> float | None:
        n = self._num_compared
        # Of unit vectors, the sum's square is n ones and the cosines of all pairs, each twice.
        square = math.fsum(np.square(self._sums.up_to(len(self.vocabulary))))
        return round(max(0.0, (square - n) / (n * (n - 1))), 6) if n > 1 else None


def _entropy(counts: np.ndarray) -> float | None:
    if not len(counts):
        return None
    shares = counts / counts.sum()
    return round(-math.fsum(shares * np.log2(shares)) + 0.0, 4)


def ratio(part: int, whole: int) -> float | None:
    """A share, four digits; None of nothing."""
    return round(float(part / whole), 4) if whole else None
