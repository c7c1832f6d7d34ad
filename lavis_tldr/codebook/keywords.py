"""The most frequent keywords and key phrases of a source's captions, found with NLTK (TL;DR, sec. 3.1 and 3.3)."""

import logging
from collections import Counter
from collections.abc import Iterable

import nltk

from lavis_tldr.reduction.concepts import words_of
from lavis_tldr.reduction.words import COMMON_WORDS

logger = logging.getLogger(__name__)

# A noun with the adjectives and nouns before it.
_GRAMMAR = nltk.RegexpParser("PHRASE: {<JJ.*|NN.*|VBG>*<NN.*>}")
_MAX_PHRASE = 3


def find_keywords(captions: Iterable[str], num_keywords: int) -> list[str]:
    """As `frequent_keywords`, K of them.

    Raises:
        ValueError: If the captions hold fewer.
    """
    found = frequent_keywords(captions, num_keywords)
    if len(found) < num_keywords:
        raise ValueError(
            f"the captions hold {len(found)} keywords and key phrases, fewer than the {num_keywords} codes. Set "
            f"model.num_codes to {len(found)} or less, give more captions, or set model.codebook_init to kmeans."
        )
    return found


def frequent_keywords(captions: Iterable[str], at_most: int) -> list[str]:
    """Keywords (nouns) and key phrases (a noun with what qualifies it), most frequent first.

    Where NLTK's part-of-speech tagger is not installed, words and word pairs without stop words stand in, and a
    warning says so.

    Args:
        captions: The source's captions.
        at_most: How many, where the captions hold as many.

    Returns:
        Keywords and phrases in lower case; equally frequent ones in alphabetical order.
    """
    tagged = _tagger_installed()
    if not tagged:
        logger.warning(
            "NLTK's tagger averaged_perceptron_tagger_eng is not installed (NLTK_DATA names its folder): keywords are "
            "the most frequent words and word pairs instead of nouns and noun phrases."
        )
    stop_words = _stop_words()
    counts: Counter[str] = Counter()
    for caption in captions:
        words = words_of(caption)
        if not words:
            continue  # NLTK's parser prints a warning for each
        counts.update(_noun_phrases(words, stop_words) if tagged else _word_pairs(words, stop_words))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [phrase for phrase, _ in ranked[:at_most]]


def _noun_phrases(words: list[str], stop_words: frozenset[str]) -> list[str]:
    found = []
    for phrase in _GRAMMAR.parse(nltk.pos_tag(words)).subtrees(lambda tree: tree.label() == "PHRASE"):
        parts = [word for word, _ in phrase.leaves() if word not in stop_words]
        if parts:
            found.append(parts[-1])  # the noun itself, and each longer phrase that ends in it
            found += [" ".join(parts[-n:]) for n in range(2, min(len(parts), _MAX_PHRASE) + 1)]
    return found


def _word_pairs(words: list[str], stop_words: frozenset[str]) -> list[str]:
    pairs = [f"{a} {b}" for a, b in nltk.bigrams(words) if a not in stop_words and b not in stop_words]
    return [word for word in words if word not in stop_words] + pairs


def _tagger_installed() -> bool:
    try:
        nltk.data.find("taggers/averaged_perceptron_tagger_eng")
        return True
    except LookupError:
        return False


def _stop_words() -> frozenset[str]:
    try:
        from nltk.corpus import stopwords

        return frozenset(stopwords.words("english"))
    except LookupError:
        return COMMON_WORDS
