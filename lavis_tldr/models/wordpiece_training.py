"""Learns a WordPiece vocabulary from captions, the same one every time.

The trainer of the `tokenizers` library breaks ties by the order of a hash map, so that its vocabulary differs from
run to run; here ties go by the alphabet.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MAX_ALPHABET = 1000  # characters; rarer ones become [UNK]
_MIN_FREQUENCY = 2  # of a pair, to be merged


def train_vocabulary(captions: Iterable[str], size: int) -> list[str]:
    """A WordPiece vocabulary of at most ``size`` tokens, learnt from captions; the same for any caption order.

    Characters come first; then, as in byte-pair encoding (arXiv:1508.07909), the most frequent pair of neighbouring
    pieces becomes a piece, again and again. Of equally frequent pairs the first in the alphabet is merged.

    Raises:
        ValueError: If ``size`` leaves no room for anything but special tokens, or the captions hold no word.
    """
    if size <= len(SPECIAL_TOKENS):
        raise ValueError(f"run.vocab_size is {size}; the {len(SPECIAL_TOKENS)} special tokens alone take that much.")
    counts = _count_words(captions)
    if not counts:
        raise ValueError("the captions hold no word to learn a vocabulary from; check the source's captions.")
    words, frequencies = zip(*sorted(counts.items()), strict=True)
    pieces = [[word[0], *(f"##{character}" for character in word[1:])] for word in words]

    used: Counter[str] = Counter()
    for row, frequency in zip(pieces, frequencies, strict=True):
        for piece in row:
            used[piece] += frequency
    ranked = sorted(used, key=lambda piece: (-used[piece], piece))
    vocabulary = sorted(ranked[: min(_MAX_ALPHABET, size - len(SPECIAL_TOKENS))])
    _merge_pairs(pieces, frequencies, vocabulary, size - len(SPECIAL_TOKENS))
    return [*SPECIAL_TOKENS, *vocabulary]


def _count_words(captions: Iterable[str]) -> Counter[str]:
    normalizer, splitter = BertNormalizer(lowercase=True), BertPreTokenizer()
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(caption)))
    return counts


def _merge_pairs(pieces: list[list[str]], frequencies: tuple[int, ...], vocabulary: list[str], size: int) -> None:
    """Grow ``vocabulary`` to ``size`` by merging; ``pieces`` of each word are rewritten in place."""
    known = set(vocabulary)
    counts: Counter[tuple[str, str]] = Counter()
    places: dict[tuple[str, str], set[int]] = defaultdict(set)  # words that a pair is or was in
    for i, row in enumerate(pieces):
        for pair in zip(row, row[1:], strict=False):
            counts[pair] += frequencies[i]
            places[pair].add(i)
    # An entry whose count is no longer the pair's is stale and passed over.
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    while heap and len(vocabulary) < size:
        negative, pair = heapq.heappop(heap)
        if counts[pair] != -negative:
            continue
        if -negative < _MIN_FREQUENCY:
            break
        merged = pair[0] + pair[1].removeprefix("##")
        # A rare character is in no vocabulary, and neither is what contains it.
        if pair[0] not in known or pair[1] not in known:
            continue
        if merged not in known:
            known.add(merged)
            vocabulary.append(merged)
        changed: set[tuple[str, str]] = set()
        for i in places.pop(pair):
            row, new = pieces[i], _merge(pieces[i], pair, merged)
            for old_pair in zip(row, row[1:], strict=False):
                counts[old_pair] -= frequencies[i]
                changed.add(old_pair)
            for new_pair in zip(new, new[1:], strict=False):
                counts[new_pair] += frequencies[i]
                places[new_pair].add(i)
                changed.add(new_pair)
            pieces[i] = new
        for other in changed:
            if counts[other] > 0:
                heapq.heappush(heap, (-counts[other], other))


def _merge(row: list[str], pair: tuple[str, str], merged: str) -> list[str]:
    new: list[str] = []
    i = 0
    while i < len(row):
        if i + 1 < len(row) and (row[i], row[i + 1]) == pair:
            new.append(merged)
            i += 2
        else:
            new.append(row[i])
            i += 1
    return new
