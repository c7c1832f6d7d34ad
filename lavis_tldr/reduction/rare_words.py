"""Rare but true words of original captions, names and places above all: a captioner never learnt to say them."""

from __future__ import annotations

import heapq

import numpy as np
import pyarrow as pa

from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.words import SplitCaptions, Vocabulary

RARE_COUNT, RARE_SHARE = 5, 1e-5  # a rare word is in so many original captions at most, or in such a share of them
_SHOWN = {"original": "caption_original", "refined": "caption"}


def rare_up_to(num_captions: int) -> int:
    """In how many of a set's original captions a word may be and is yet rare."""
    return max(RARE_COUNT, int(RARE_SHARE * num_captions))


class RareWords:
    """Counts the rare words of original captions, and how many of them the refined captions still have.

    Args:
        vocabulary: All words of the whole set's original captions.
        is_rare: Whether each of these is, (V,), bool.
        threshold: The alignment from which on an original is well aligned, or None.
        num_examples: Of samples that lost some.
    """

    def __init__(self, vocabulary: Vocabulary, is_rare: np.ndarray, threshold: float | None, num_examples: int):
        self.vocabulary, self.is_rare = vocabulary, is_rare
        self.threshold, self.num_examples = threshold, num_examples
        self._had, self._kept = np.zeros((2, 2), np.int64)  # of all originals, and of the well aligned
        self._lost: list[tuple[int, str, dict]] = []

    def add(self, table: pa.Table, original: SplitCaptions, refined: SplitCaptions) -> None:
        """Add kept samples: key, caption_original, caption, alignment; and the captions split."""
        rows, words = original.uncommon()
        is_rare = self.is_rare[words]
        rows, words = rows[is_rare], words[is_rare]
        survives = np.isin(original.codes[is_rare], refined.codes)
        fits = np.ones(len(rows), bool)
        if self.threshold is not None:
            fits = table["alignment"].to_numpy()[rows] >= self.threshold
        self._had += len(rows), np.count_nonzero(fits)
        self._kept += np.count_nonzero(survives), np.count_nonzero(survives & fits)
        if self.num_examples:
            is_lost = ~survives & fits
            self._keep_examples(table, rows[is_lost], words[is_lost])

    def _keep_examples(self, table: pa.Table, rows: np.ndarray, words: np.ndarray) -> None:
        """Keep some of the samples with lost words, (T,) each: those of lowest priority by key."""
        samples = np.unique(rows)
        keys = table["key"].take(pa.array(samples)).to_pylist()
        ranked = zip(draw_priority(keys, 0).tolist(), keys, samples.tolist(), strict=True)
        names = self.vocabulary.words
        for rank, key, row in heapq.nsmallest(self.num_examples, ranked):
            texts = {kind: table[name][row].as_py() for kind, name in _SHOWN.items()}
            lost = sorted(names[word] for word in words[rows == row])
            self._lost.append((rank, key, {"key": key, "words": lost, **texts}))
        self._lost = heapq.nsmallest(self.num_examples, self._lost, key=lambda example: example[:2])

    def figures(self) -> dict:
        """As `caption_measures.measure_captions` says."""
        of_all, of_aligned = (
            {"original": int(had), "refined": int(kept), "share": round(kept / had, 4) if had else None}
            for had, kept in zip(self._had, self._kept, strict=True)
        )
        lost = [example for _, _, example in self._lost]
        return {**of_all, "well_aligned": None if self.threshold is None else of_aligned, "lost": lost}
