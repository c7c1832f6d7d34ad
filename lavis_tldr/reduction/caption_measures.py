"""What refining does to captions: whether rare words survive, how alike captions become, and how well they fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.reduction.diversity import Diversity, ratio
from lavis_tldr.reduction.rare_words import RareWords, rare_up_to
from lavis_tldr.reduction.words import Counts, SplitCaptions, Vocabulary

KINDS = {"original": "caption_original", "generated": "caption_generated", "refined": "caption"}
ALIGNMENTS = {"original": "alignment", "generated": "alignment_generated", "refined": "alignment_refined"}

# Columns, and whether of kept samples only -> the ledger's parts, in a fixed order.
LedgerReader = Callable[..., Iterable[pa.Table]]


def measure_captions(read: LedgerReader, *, threshold: float | None = None, num_examples: int = 0) -> dict:
    """Measure the captions of a reduced set, a part at a time; memory grows with the vocabulary.

    Args:
        read: ``read(columns, only_kept=...)`` gives the ledger's parts (``partial(iter_ledger, path)``).
        threshold: The alignment from which on a caption fits its image; None where none is known.
        num_examples: How many samples that lost rare words to name, drawn by key.

    Returns:
        - ``captions`` by kind (original, generated, refined), of the kept samples: `Diversity.figures`.
        - ``rare_words``: ``most``, the number of original captions of the whole set up to which a word is rare;
          ``original``, how many the kept samples' original captions have, ``refined``, how many of these the refined
          ones still have, and ``share``; ``well_aligned``: the same three of originals that fit, or None; ``lost``:
          examples with ``key``, ``words``, ``original`` and ``refined``, of originals that fit where that is known.
        - ``alignment``: ``threshold``, and for ``source`` (all original captions) and each kind of the kept samples
          ``scored``, ``mean`` and ``fitting``, the share that reaches the threshold; None where not scored.
    """
    vocabulary, in_captions, source = Vocabulary(), Counts(), _Alignments(threshold)
    num_captions = 0
    for table in read(["error", "caption_original", "alignment"], only_kept=False):
        table = table.filter(pc.equal(table["error"], ""))
        num_captions += len(table)
        _, words = SplitCaptions(table["caption_original"], vocabulary).uncommon()
        in_captions.add(words)
        source.add(table["alignment"])
    most = rare_up_to(num_captions)
    rare = RareWords(vocabulary, in_captions.up_to(len(vocabulary)) <= most, threshold, num_examples)
    diversity = {kind: Diversity(vocabulary) for kind in KINDS}
    alignments = {kind: _Alignments(threshold) for kind in KINDS}
    for table in read(["key", *KINDS.values(), *ALIGNMENTS.values()], only_kept=True):
        split = {kind: SplitCaptions(table[column], vocabulary) for kind, column in KINDS.items()}
        rare.add(table, split["original"], split["refined"])
        for kind, column in KINDS.items():
            diversity[kind].add(table[column], split[kind])
            alignments[kind].add(table[ALIGNMENTS[kind]])
    return {
        "captions": {kind: measure.figures() for kind, measure in diversity.items()},
        "rare_words": {"most": most, **rare.figures()},
        "alignment": {
            "threshold": threshold,
            "source": source.figures(),
            **{kind: measure.figures() for kind, measure in alignments.items()},
        },
    }


class _Alignments:
    """Mean of scores, and how many reach a threshold."""

    def __init__(self, threshold: float | None):
        self.threshold = threshold
        self._number = self._fitting = 0
        self._sums: list[float] = []

    def add(self, scores: pa.ChunkedArray) -> None:
        values = scores.to_numpy().astype(np.float64)
        values = values[np.isfinite(values)]
        self._number += len(values)
        self._sums.append(math.fsum(values))
        if self.threshold is not None:
            self._fitting += np.count_nonzero(values >= self.threshold)

    def figures(self) -> dict | None:
        if not self._number:
            return None
        fitting = None if self.threshold is None else ratio(self._fitting, self._number)
        mean = round(math.fsum(self._sums) / self._number, 4) + 0.0  # no -0.0
        return {"scored": self._number, "mean": mean, "fitting": fitting}
