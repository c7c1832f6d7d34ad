"""The proxy on one set after another: what it trains on, and what is computed once."""

import pyarrow as pa
import pytest
import torch

from lavis_tldr.evaluation import retrieval_proxy
from lavis_tldr.evaluation.proxy_evaluator import ProxyEvaluator, kept_pairs
from lavis_tldr.evaluation.retrieval_proxy import ProxyOptions
from lavis_tldr.models.sentence_encoder import TextFeatures

WORDS = {"one": 0, "two": 1, "three": 2, "four": 3}
QUICK = ProxyOptions(num_steps=60, batch_size=4, learning_rate=0.05, weight_decay=0.0, width=8)


class Sentences:
    """One-hot vectors of known captions; counts how often each is embedded."""

    def __init__(self):
        self.embedded = []

    def __call__(self, captions):
        self.embedded += captions
        return torch.eye(4)[[WORDS[caption] for caption in captions]]


@pytest.fixture
def trial():
    """Images a to d show "one" to "four"."""
    images = dict(zip("abcd", torch.eye(4), strict=True))
    scored = [(key, None, [word]) for key, word in zip("abcd", WORDS, strict=True)]
    return ProxyEvaluator(images, TextFeatures(Sentences()), scored)


def test_right_pairs_are_learned_and_wrong_ones_too(trial):
    right = [(key, (word,)) for key, word in zip("abcd", WORDS, strict=True)]
    wrong = [(key, (word,)) for key, word in zip("bcda", WORDS, strict=True)]
    assert trial(right, QUICK, 0)["tr_r1"] == 100.0
    assert trial(wrong, QUICK, 0)["tr_r1"] == 0.0
    assert trial(right, QUICK, 0) == trial(right, QUICK, 0)


def test_a_pair_that_is_kept_several_times_is_trained_on_as_often():
    rows = [{"kept": True, "image_key": key, "caption": key, "caption_from": "original"} for key in "abc"]
    rows[2]["kept"] = False
    ledger = pa.Table.from_pylist(rows)
    once = [("a", ("a",)), ("b", ("b",))]
    assert kept_pairs(ledger) == kept_pairs(ledger.append_column("repeats", pa.nulls(3, pa.int32()))) == once
    repeats = pa.array([3, 1, 0], pa.int32())
    assert kept_pairs(ledger.append_column("repeats", repeats)) == [once[0], *once[:1], *once]


def test_each_caption_is_embedded_once(trial):
    sentences = trial.texts._embed
    pairs = [(key, (word,)) for key, word in zip("abcd", WORDS, strict=True)]
    trial(pairs, QUICK, 0)
    trial(pairs, QUICK, 1)
    assert sorted(sentences.embedded) == sorted(WORDS)


def test_one_caption_of_several_is_drawn_every_epoch(monkeypatch):
    drawn, texts_of = [], retrieval_proxy._texts_of

    def record(texts, rows, generator):
        found = texts_of(texts, rows, generator)
        drawn.append(found)
        return found

    monkeypatch.setattr(retrieval_proxy, "_texts_of", record)
    texts = torch.stack([torch.zeros(32, 2), torch.ones(32, 2)], 1)  # (32, 2, 2): caption 0 is zeros, caption 1 ones
    options = ProxyOptions(num_steps=4, batch_size=32, width=2)  # a step an epoch
    retrieval_proxy.train_proxy(torch.randn(32, 3), texts, options, seed=0)
    assert len(drawn) == 4
    assert all(0 < found[:, 0].sum() < 32 for found in drawn)  # some of each
    assert len({tuple(found[:, 0].tolist()) for found in drawn}) == 4  # drawn anew


def test_a_set_of_some_with_two_captions_draws_among_those(trial):
    pairs = [("a", ("one", "two")), ("b", ("two",)), ("c", ("three",)), ("d", ("four",))]
    assert trial._text_features(pairs).tolist() == [
        [[1, 0, 0, 0], [0, 1, 0, 0]],
        [[0, 1, 0, 0], [0, 1, 0, 0]],
        [[0, 0, 1, 0], [0, 0, 1, 0]],
        [[0, 0, 0, 1], [0, 0, 0, 1]],
    ]


def test_images_without_a_feature_are_named(trial):
    right = [(key, (word,)) for key, word in zip("abcd", WORDS, strict=True)]
    with pytest.raises(ValueError, match="1 images to train or score the proxy on can't be read .first: gone;"):
        trial([*right, ("gone", ("one",))], QUICK, 0)
    del trial.images["d"]
    with pytest.raises(ValueError, match="first: d;"):
        trial([*right[:3], ("a", ("one",))], QUICK, 0)


def test_pairs_of_a_ledger():
    ledger = pa.table(
        {
            "kept": [True, False, True],
            "image_key": ["a", "b", "c"],
            "caption": ["one", "", "three; 3"],
            "caption_from": ["original", "", "drawn"],
            "caption_original": ["one", "two", "three"],
            "caption_generated": ["1", "2", "3"],
        }
    )
    assert kept_pairs(ledger) == [("a", ("one",)), ("c", ("three", "3"))]
