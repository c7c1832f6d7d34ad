"""A cap on how many samples of each concept pass, so that the common ones don't crowd out the rare.

MetaCLIP (Xu et al. 2023, arXiv:2309.16671, section 3) balances a set over a list of entries: of each entry at most t
pairs are drawn, a pair stays if any of its entries has drawn it, and entries with fewer stay whole. Differs: those t
are the best by the selection's score, where it has one, and not drawn anew for each entry; a pair without entry may
stay.

Shapes: N samples, K concepts, P pairs of a sample and a concept of its caption.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lavis_tldr.reduction.cut import find_cuts
from lavis_tldr.reduction.prefilter import passes_cut
from lavis_tldr.reduction.quotas import keep_budget

_WORD = re.compile(r"[a-z][a-z'-]*[a-z]")
# Concept (p,), integers; rank bits (p,), uint32; and draw priority (p,), uint64, of pairs of samples and concepts.
Block = tuple[np.ndarray, np.ndarray, np.ndarray]


def words_of(caption: str) -> list[str]:
    """The words of a caption of which keywords are made: two Latin letters or more, in lower case."""
    return _WORD.findall(caption.lower())


class ConceptMatcher:
    """Finds the concepts of captions: those whose words stand in it side by side, in lower case, as nouns or not.

    Args:
        concepts: K words and phrases. One without a word that `words_of` knows is found nowhere; of two with the same
            words the first is.
    """

    def __init__(self, concepts: Sequence[str]):
        self._numbers: dict[tuple[str, ...], int] = {}
        for number, concept in enumerate(concepts):
            self._numbers.setdefault(tuple(words_of(concept)), number)
        self._numbers.pop((), None)
        self._lengths = sorted({len(words) for words in self._numbers})

    def __call__(self, caption: str) -> list[int]:
        """Numbers of the caption's concepts, each once, ascending."""
        words = words_of(caption)
        phrases = (
            tuple(words[start : start + length]) for length in self._lengths for start in range(len(words) - length + 1)
        )
        return sorted({self._numbers[phrase] for phrase in phrases if phrase in self._numbers})

    def match_all(self, captions: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """Row of the caption and number of the concept of each pair, (P,), int32, in order."""
        found = [(row, number) for row, caption in enumerate(captions) for number in self(caption)]
        rows, numbers = np.array(found, np.int32).reshape(-1, 2).T
        return rows, numbers


def cap_of(concept_cap: float, num_samples: int) -> int:
    """How many samples of a concept pass: a number as it is, a share below 1 of the N samples."""
    return keep_budget(num_samples, concept_cap) if concept_cap < 1 else int(concept_cap)


@dataclass(frozen=True)
class ConceptCuts:
    """Where each concept's samples are cut.

    Attributes:
        cap: How many of a concept pass.
        sizes: Samples of each concept, (K,).
        bits, priority: Rank bits and draw priority of the last of each that passes, (K,), uint32 and uint64.
    """

    cap: int
    sizes: np.ndarray
    bits: np.ndarray
    priority: np.ndarray

    @classmethod
    def find(cls, blocks: Callable[[], Iterable[Block]], num_concepts: int, cap: int) -> ConceptCuts:
        """From all pairs of samples and concepts, in a dozen passes or so.

        Args:
            blocks: Gives all pairs anew at each call, in any order.
            num_concepts: K.
            cap: At least 1.
        """
        sizes = np.zeros(num_concepts, np.int64)
        for concepts, _, _ in blocks():
            sizes += np.bincount(concepts, minlength=num_concepts)
        crowded = np.flatnonzero(sizes > cap)
        number = np.full(num_concepts, -1)
        number[crowded] = np.arange(len(crowded))

        def of_crowded() -> Iterator[Block]:
            for concepts, bits, priority in blocks():
                groups = number[concepts]
                rows = groups >= 0
                yield groups[rows], bits[rows], priority[rows]

        bits, priority = (np.full(num_concepts, np.iinfo(kind).max, kind) for kind in (np.uint32, np.uint64))
        if len(crowded):
            bits[crowded], priority[crowded] = find_cuts(of_crowded, np.full(len(crowded), cap))
        return cls(cap, sizes, bits, priority)

    def passes(self, rows: np.ndarray, concepts: np.ndarray, bits: np.ndarray, priority: np.ndarray) -> np.ndarray:
        """Which samples are among the best of one of their concepts, (N,), bool; two with one score and one hash are
        together.

        Args:
            rows, concepts: Of the pairs, (P,).
            bits, priority: Rank bits and draw priorities of the samples, (N,).
        """
        is_best = passes_cut(bits[rows], priority[rows], (self.bits[concepts], self.priority[concepts]))
        return np.bincount(rows[is_best], minlength=len(bits)) > 0
