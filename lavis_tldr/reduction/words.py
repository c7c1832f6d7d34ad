"""Captions as words, in Arrow and NumPy: millions of captions, a part at a time.

Shapes: N captions, T words of all of them together.
"""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_BETWEEN_WORDS = r"[^\p{L}\p{M}]+"  # all that is no letter, nor a mark on one, of any script
_COMMON_WORDS = """
a an the and or but if of at by for with about into through before after above below to from up down in out on off over
under again then once here there all any both each few more most other some such no nor not only own same so than too
very can will just is are was were be been being have has had do does did its it this that these those he she they his
her their them him we you your our my me i as who which what while near next
"""
COMMON_WORDS = frozenset(_COMMON_WORDS.split())
_COMMON = pa.array(sorted(COMMON_WORDS))
_MERGED_AT_ONCE = 2**20
PER_ROW = np.int64(2**32)  # a row and a word's number in one: row * PER_ROW + number


def split_words(captions: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """The words of captions, in lower case; digits and signs part them.

    Args:
        captions: N texts.

    Returns:
        Row of each word, (T,), int64, and the words, T of them, in order.
    """
    lists = pc.split_pattern_regex(pc.utf8_lower(captions).combine_chunks(), _BETWEEN_WORDS)
    rows, words = pc.list_parent_indices(lists), pc.list_flatten(lists)
    is_word = pc.not_equal(words, "")
    return rows.filter(is_word).to_numpy(), words.filter(is_word)


def count_words(captions: pa.ChunkedArray) -> np.ndarray:
    """How many words each caption has, (N,), int64."""
    return np.bincount(split_words(captions)[0], minlength=len(captions))


class Vocabulary:
    """Numbers words in the order in which they come; two spellings of the same letters are one word."""

    def __init__(self):
        self._ids: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def words(self) -> list[str]:
        return list(self._ids)

    def number(self, words: pa.Array) -> np.ndarray:
        """The number of each word, (T,), int64."""
        encoded = words.dictionary_encode()
        # Not by Arrow's utf8_normalize, whose NFC leaves letters and their marks apart (Arrow 25).
        found = [unicodedata.normalize("NFC", word) for word in encoded.dictionary.to_pylist()]
        ids = [self._ids.setdefault(word, len(self._ids)) for word in found]
        return np.array(ids, np.int64)[encoded.indices.to_numpy()]


class SplitCaptions:
    """Captions as numbered words.

    Attributes:
        rows, words: Row of each word and its number, in order, (T,), int64.
        codes: Row and word in one number of each caption's uncommon words, each once, sorted, (U,), int64.
    """

    def __init__(self, captions: pa.ChunkedArray, vocabulary: Vocabulary):
        self.rows, words = split_words(captions)
        self.words = vocabulary.number(words)
        is_common = pc.is_in(words, value_set=_COMMON).to_numpy(zero_copy_only=False)
        self.codes = np.unique((self.rows * PER_ROW + self.words)[~is_common])

    def uncommon(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and word of each of the codes, (U,), int64."""
        return np.divmod(self.codes, PER_ROW)


class Counts:
    """How often each number came, or the sum of its weights, in a table that grows with the largest."""

    def __init__(self, dtype: type = np.int64):
        self._counts = np.zeros(1024, dtype)

    def add(self, numbers: np.ndarray, weights: np.ndarray | None = None) -> None:
        found = np.bincount(numbers, weights)
        if len(found) > len(self._counts):
            self._counts = self.up_to(2 * len(found))
        self._counts[: len(found)] += found

    def up_to(self, number: int) -> np.ndarray:
        """Counts of the numbers below ``number``, (number,)."""
        found = np.zeros(number, self._counts.dtype)
        known = self._counts[:number]
        found[: len(known)] = known
        return found


class DistinctNumbers:
    """The distinct ones of many 64-bit numbers, in 8 to 24 bytes each."""

    def __init__(self):
        self._sorted = np.zeros(0, np.uint64)
        self._new: list[np.ndarray] = []
        self._num_new = 0

    def add(self, numbers: np.ndarray) -> None:
        self._new.append(np.unique(numbers.astype(np.uint64)))
        self._num_new += len(self._new[-1])
        # Merged only once they are as many as those there, so that each is sorted but a few times.
        if self._num_new > max(len(self._sorted), _MERGED_AT_ONCE):
            self._merge()

    def __len__(self) -> int:
        self._merge()
        return len(self._sorted)

    def _merge(self) -> None:
        self._sorted = np.unique(np.concatenate([self._sorted, *self._new]))
        self._new, self._num_new = [], 0
