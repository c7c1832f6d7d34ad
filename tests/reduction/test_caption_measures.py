"""Rare words and diversity of captions, by hand and against naive counts."""

import math
import random
from collections import Counter
from itertools import combinations

import pyarrow as pa
import pytest

from lavis_tldr.reduction import rare_words, words
from lavis_tldr.reduction.caption_measures import measure_captions
from lavis_tldr.reduction.words import COMMON_WORDS, DistinctNumbers, count_words, split_words

NAN = float("nan")
NUMBERS = ("alignment", "alignment_generated", "alignment_refined")


def row(key, original, refined="", generated="", *, kept=True, error="", **scores):
    texts = {"caption_original": original, "caption_generated": generated, "caption": refined}
    return {"key": key, **texts, "kept": kept, "error": error, **dict.fromkeys(NUMBERS, NAN), **scores}


def reader(*parts):
    """`measure_captions`' reader of rows, part by part."""

    def read(columns, *, only_kept):
        for rows in parts:
            table = pa.Table.from_pylist([r for r in rows if r["kept"] or not only_kept], schema=SCHEMA)
            yield table.select(columns)

    return read


SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("key", "caption_original", "caption_generated", "caption", "error")),
        ("kept", pa.bool_()),
        *((name, pa.float32()) for name in NUMBERS),
    ]
)

# "dog" is in seven captions, so it is not rare; the others are.
COMMON = [row(f"z{i}", "a dog", "a dog", kept=False) for i in range(6)]


def test_rare_words_by_hand():
    rows = [
        row("a", "Paris: the Eiffel tower, dog", "a tower in PARIS", alignment=0.5),  # loses eiffel
        row("b", "anna and ben", "two people", alignment=-0.5),  # loses anna, ben; fits badly
        row("c", "Zürich 2019", "zu\u0308rich", alignment=0.0),  # the same letters, written otherwise
        row("d", "the dog", "", alignment=1.0),
        row("e", "never kept: quokka", kept=False),
        row("f", "not even read: wombat", kept=False, error="unreadable image"),
    ]
    figures = measure_captions(reader(rows, COMMON), threshold=0.0, num_examples=5)["rare_words"]
    assert figures == {
        "most": 5,
        "original": 6,  # paris, eiffel, tower, anna, ben, zürich
        "refined": 3,
        "share": 0.5,
        "well_aligned": {"original": 4, "refined": 3, "share": 0.75},
        "lost": [
            {
                "key": "a",
                "words": ["eiffel"],
                "original": "Paris: the Eiffel tower, dog",
                "refined": "a tower in PARIS",
            }
        ],
    }


def test_a_word_is_counted_once_a_caption():
    rows = [row("a", "paris paris Paris", "rome"), row("b", "rome", "rome rome")]
    figures = measure_captions(reader(rows))["rare_words"]
    assert (figures["original"], figures["refined"]) == (2, 1)
    assert figures["well_aligned"] is None  # nobody says from where on captions fit


def test_rare_is_told_by_all_captions_of_the_set(monkeypatch):
    rows = [row(f"k{i}", "paris") for i in range(3)] + [row(f"l{i}", "paris", kept=False) for i in range(3)]
    assert measure_captions(reader(rows))["rare_words"]["original"] == 0  # six of them
    rows[-1]["error"] = "empty caption"
    assert measure_captions(reader(rows))["rare_words"]["original"] == 3
    monkeypatch.setattr(rare_words, "RARE_SHARE", 1.0)
    assert measure_captions(reader([*rows, *COMMON]))["rare_words"]["most"] == 11


def test_examples_are_drawn_by_key_whatever_the_parts():
    rows = [row(f"k{i:02d}", f"place{chr(97 + i)}", "a dog") for i in range(20)]
    whole = measure_captions(reader(rows), num_examples=3)["rare_words"]["lost"]
    parts = measure_captions(reader(rows[15:], rows[:4], [], rows[4:15]), num_examples=3)["rare_words"]["lost"]
    assert whole == parts
    assert len(whole) == 3
    assert all(example["words"] == [f"place{chr(97 + int(example['key'][1:]))}"] for example in whole)
    assert [example["key"] for example in whole] != ["k00", "k01", "k02"]


def test_diversity_by_hand():
    rows = [row("a", "", "red dog runs"), row("b", "", "red dog runs"), row("c", "", "the red cat"), row("d", "", "")]
    refined = measure_captions(reader(rows))["captions"]["refined"]
    assert refined["captions"] == 3
    assert refined["words"] == 3.0
    assert refined["vocabulary"] == 5  # red dog runs the cat
    assert refined["distinct_captions"] == pytest.approx(2 / 3, abs=1e-4)
    assert refined["distinct_1"] == pytest.approx(5 / 9, abs=1e-4)
    assert refined["distinct_2"] == pytest.approx(4 / 6, abs=1e-4)  # red dog, dog runs, the red, red cat
    # red 3 of 9, dog and runs 2 each, the and cat 1 each
    expected = -(3 / 9 * math.log2(3 / 9) + 2 * 2 / 9 * math.log2(2 / 9) + 2 / 9 * math.log2(1 / 9))
    assert refined["entropy"] == pytest.approx(expected, abs=1e-4)
    # Of uncommon words {red dog runs} twice and {red cat}: cosines 1, 1/sqrt 6, 1/sqrt 6.
    assert refined["similarity"] == pytest.approx((1 + 2 / math.sqrt(6)) / 3, abs=1e-6)


def test_diversity_against_naive_counts():
    rng = random.Random(1)
    vocabulary = [f"w{chr(97 + i)}{chr(97 + j)}" for i in range(6) for j in range(5)] + ["the", "a"]
    texts = [" ".join(rng.choices(vocabulary, k=rng.randint(0, 6))) for _ in range(60)]
    rows = [row(f"k{i}", "x", text) for i, text in enumerate(texts)]
    found = measure_captions(reader(rows[:7], [], rows[7:]))["captions"]["refined"]
    said = [text.split() for text in texts if text]
    tokens = [word for caption in said for word in caption]
    pairs = [pair for caption in said for pair in zip(caption, caption[1:], strict=False)]
    counts = Counter(tokens)
    sets = [s for s in ({w for w in caption if w not in COMMON_WORDS} for caption in said) if s]
    cosines = [len(a & b) / math.sqrt(len(a) * len(b)) for a, b in combinations(sets, 2)]
    assert found == {
        "captions": len(said),
        "words": pytest.approx(len(tokens) / len(said), abs=1e-4),
        "vocabulary": len(counts),
        "distinct_captions": pytest.approx(len({text for text in texts if text}) / len(said), abs=1e-4),
        "distinct_1": pytest.approx(len(counts) / len(tokens), abs=1e-4),
        "distinct_2": pytest.approx(len(set(pairs)) / len(pairs), abs=1e-4),
        "entropy": pytest.approx(-sum(n / len(tokens) * math.log2(n / len(tokens)) for n in counts.values()), abs=1e-4),
        "similarity": pytest.approx(sum(cosines) / len(cosines), abs=1e-6),
    }


def test_parts_and_their_order_decide_nothing():
    rng = random.Random(2)
    rows = [
        row(f"k{i}", " ".join(rng.choices(["abc", "def", "ghi", "jkl", "mno"], k=4)), "ghi jkl", alignment=rng.random())
        for i in range(50)
    ]
    whole = measure_captions(reader(rows), threshold=0.5, num_examples=4)
    shuffled = rng.sample(rows, 50)
    assert measure_captions(reader(shuffled[:9], shuffled[9:11], shuffled[11:]), threshold=0.5, num_examples=4) == whole


def test_alignment_before_and_after():
    rows = [
        row("a", "x", alignment=0.5, alignment_generated=-1.0, alignment_refined=0.5),
        row("b", "x", alignment=-0.5, alignment_generated=1.0, alignment_refined=1.0),
        row("c", "x", kept=False, alignment=-3.0),
        row("d", "x", kept=False, error="unreadable", alignment=9.0),
    ]
    assert measure_captions(reader(rows), threshold=0.0)["alignment"] == {
        "threshold": 0.0,
        "source": {"scored": 3, "mean": -1.0, "fitting": pytest.approx(1 / 3, abs=1e-4)},
        "original": {"scored": 2, "mean": 0.0, "fitting": 0.5},
        "generated": {"scored": 2, "mean": 0.0, "fitting": 0.5},
        "refined": {"scored": 2, "mean": 0.75, "fitting": 1.0},
    }


def test_nothing_to_measure():
    figures = measure_captions(reader([]), threshold=0.0, num_examples=3)
    assert figures["rare_words"] == {
        "most": 5,
        "original": 0,
        "refined": 0,
        "share": None,
        "well_aligned": {"original": 0, "refined": 0, "share": None},
        "lost": [],
    }
    assert figures["alignment"]["source"] is None
    assert figures["captions"]["refined"] == {
        **{"captions": 0, "vocabulary": 0},
        **dict.fromkeys(("words", "distinct_captions", "distinct_1", "distinct_2", "entropy", "similarity")),
    }


HOSTILE = ["\x00\x1b[31m", "🎈" * 50, "...", "\n\t", "a" * 100_000, "हिन्दी भाषा", "猫", "'; DROP TABLE--", "ﬁ ß İ"]


def test_hostile_captions_are_counted_like_others():
    rows = [row(f"k{i}", text, text, text) for i, text in enumerate(HOSTILE)]
    figures = measure_captions(reader(rows), num_examples=9)
    assert figures["rare_words"]["share"] == 1.0
    assert figures["captions"]["refined"]["captions"] == len(HOSTILE)


def test_words_of_any_script():
    rows, found = split_words(pa.chunked_array([["A Café in São-Paulo’s  123 old_town", "", "हिन्दी 猫"], ["...", "x"]]))
    assert found.to_pylist() == ["a", "café", "in", "são", "paulo", "s", "old", "town", "हिन्दी", "猫", "x"]
    assert rows.tolist() == [0] * 8 + [2, 2, 4]


def test_distinct_numbers_across_merges(monkeypatch):
    monkeypatch.setattr(words, "_MERGED_AT_ONCE", 4)
    rng = random.Random(3)
    blocks = [[rng.randrange(40) for _ in range(rng.randrange(9))] for _ in range(30)]
    distinct = DistinctNumbers()
    for block in blocks:
        distinct.add(pa.array(block, pa.uint64()).to_numpy())
    assert len(distinct) == len({number for block in blocks for number in block})


def test_words_are_counted_in_any_script():
    captions = pa.chunked_array([["", "two dogs , 2 cats !", "un café noir"], ["собака"]])
    assert count_words(captions).tolist() == [0, 3, 3, 1]
