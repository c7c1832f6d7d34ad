import logging
import os
from pathlib import Path

import nltk
import pytest
from nltk.corpus.reader import WordListCorpusReader
from nltk.corpus.util import LazyCorpusLoader

from lavis_tldr.codebook import keywords
from lavis_tldr.codebook.keywords import find_keywords

SHARED = Path(__file__).parents[2].parent / "shared/assets/nltk_data"


@pytest.fixture
def without_data(monkeypatch):
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(keywords, "_stop_words", lambda: keywords.COMMON_WORDS)


@pytest.fixture
def with_tagger(monkeypatch):
    folders = [folder for folder in (os.environ.get("NLTK_DATA"), str(SHARED)) if folder]
    monkeypatch.setattr(nltk.data, "path", [*folders, *nltk.data.path])
    # NLTK's own would keep the folder that it finds here for the rest of the process.
    fresh = LazyCorpusLoader("stopwords", WordListCorpusReader, r"(?!README|\.).*", encoding="utf8")
    monkeypatch.setattr(nltk.corpus, "stopwords", fresh)
    if not keywords._tagger_installed():
        pytest.skip("NLTK's averaged_perceptron_tagger_eng is not installed; name its folder by NLTK_DATA")


CAPTIONS = ["A red kite over the sea.", "A red kite", "the sea", "A small dog", "", "!?"]


def test_words_and_pairs_without_the_tagger(without_data, caplog):
    with caplog.at_level(logging.WARNING):
        # kite, red, red kite and sea twice, the others once; across a stop word there is no pair ("kite sea")
        found = find_keywords(CAPTIONS, 7)
    assert found == ["kite", "red", "red kite", "sea", "dog", "small", "small dog"]
    assert "averaged_perceptron_tagger_eng" in caplog.text


def test_nouns_and_phrases_with_the_tagger(with_tagger, capsys):
    found = find_keywords(CAPTIONS, 5)
    assert found == ["kite", "red kite", "sea", "dog", "small dog"]  # red is no noun
    assert capsys.readouterr().out == ""


def test_long_phrases_end_in_their_noun(with_tagger):
    found = find_keywords(["a big old red wooden boat"], 3)
    assert found[0] == "boat"
    assert all(phrase.endswith("boat") and len(phrase.split()) <= 3 for phrase in found)


def test_order_of_captions_does_not_matter(without_data):
    assert find_keywords(CAPTIONS, 4) == find_keywords(CAPTIONS[::-1], 4)


def test_too_few_keywords(without_data):
    with pytest.raises(ValueError, match="hold 7 keywords.*fewer than the 8 codes.*num_codes to 7"):
        find_keywords(CAPTIONS, 8)


def test_own_stop_words_stand_in(monkeypatch):
    class NotInstalled:
        def words(self, language):
            raise LookupError(language)

    monkeypatch.setattr(nltk.corpus, "stopwords", NotInstalled())
    assert keywords._stop_words() == keywords.COMMON_WORDS
