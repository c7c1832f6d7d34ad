import pickle
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavis_tldr.datasets import pair_index
from lavis_tldr.datasets.pair_index import PairIndexBuilder
from lavis_tldr.sources import ImageLocation, Record


def pair(image_key, number=None, caption="", location=None):
    key = image_key if number is None else f"{image_key}#{number}"
    return Record(key, image_key, caption, "", location or ImageLocation(f"/images/{image_key}"), None)


def build(parts, by_image):
    builder = PairIndexBuilder(by_image)
    for number, records in enumerate(parts):
        builder.start_part(str(number))
        for record in records:
            builder.add(record)
    return builder.build()


def naive(parts, by_image):
    """The items by a sorted list: Python's sort is stable, so an image's pairs stay in their order."""

    def group_of(record):
        return record.image_key if by_image else record.key

    records = sorted((record for records in parts for record in records), key=group_of)
    groups = [list(group) for _, group in groupby(records, group_of)]
    return [(group[0].image_key, group[0].location, [record.caption for record in group]) for group in groups]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pair_index, "_BLOCK", 3)


PARTS = [
    [pair("b", 10, "b10"), pair("b", 2, "b2"), pair("a", caption="größer 图"), pair("b", 0, "b0")],
    [],
    [pair("é", caption="\U0001f34e"), pair("b", 1, "b1", ImageLocation("/tars/1.tar", 512, 7))],
]
B = ImageLocation("/images/b")


def test_by_pair_by_hand():
    index = build(PARTS, by_image=False)
    # "b#10" comes before "b#2", as strings go
    assert list(index) == [
        ("a", ImageLocation("/images/a"), ["größer 图"]),
        ("b", B, ["b0"]),
        ("b", ImageLocation("/tars/1.tar", 512, 7), ["b1"]),
        ("b", B, ["b10"]),
        ("b", B, ["b2"]),
        ("é", ImageLocation("/images/é"), ["\U0001f34e"]),
    ]


def test_by_image_by_hand():
    index = build(PARTS, by_image=True)
    assert index[1] == ("b", B, ["b10", "b2", "b0", "b1"])  # in the order they came
    assert [key for key, _, _ in index] == ["a", "b", "é"]
    assert index[-1] == index[2]
    for outside in (3, -4):
        with pytest.raises(IndexError):
            index[outside]


# Characters on both sides of the surrogates: UTF-16 would sort U+FFFD behind U+1F34E.
keys = st.text("ab#1/é\ufffd\U0001f34e", min_size=1, max_size=3)
locations = st.builds(ImageLocation, st.sampled_from(["/0.tar", "/1.tar", "/\udcff.tar"]), st.integers(-1, 2**40))
pairs = st.builds(pair, keys, st.none() | st.integers(0, 12), st.text(max_size=4), locations)
sources = st.lists(pairs, max_size=20, unique_by=lambda record: record.key).flatmap(
    lambda records: st.integers(0, len(records)).map(lambda cut: [records[:cut], records[cut:]])
)


@given(sources, st.booleans(), st.data())
def test_like_a_list(parts, by_image, data):
    expected = naive(parts, by_image)
    index = build(parts, by_image)
    assert len(index) == len(expected)
    assert list(index) == expected
    assert [index[i] for i in range(len(index))] == expected
    assert list(pickle.loads(pickle.dumps(index))) == expected
    captions = [caption for _, _, captions in expected for caption in captions]
    assert index.num_captions == len(captions)
    assert index.captions() == captions
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(index), max_size=len(index))), bool)
    kept = index.take(mask)
    assert list(kept) == [item for item, keep in zip(expected, mask, strict=True) if keep]
    assert kept.captions() == [caption for _, _, captions in kept for caption in captions]


def test_rows():
    index = build(PARTS, by_image=True)
    assert list(index.take(np.array([2, 0, 2]))) == [index[2], index[0], index[2]]
    assert index.captions(np.array([0, 2, 5])) == ["größer 图", "b2", "\U0001f34e"]


def test_without_a_pair():
    for parts in ([], [[], []]):
        index = build(parts, by_image=True)
        assert not index and list(index) == [] and index.captions() == [] and index.num_captions == 0
        assert len(index.take(np.array([], bool))) == 0
        with pytest.raises(IndexError):
            index[0]


def test_a_part_begun_again_starts_from_nothing():
    builder = PairIndexBuilder(by_image=True)
    for name in ("0", "1", "0"):
        builder.start_part(name)
        for i in range(4):
            builder.add(pair("a", f"{name}{i}", f"{name}.{i}"))
    # the parts' order is that of their first beginning
    assert builder.build()[0][2] == [f"{part}.{i}" for part in "01" for i in range(4)]


def test_a_tar_is_named_once():
    long_path = "/tars/" + "x" * 200 + ".tar"
    index = build([[pair(f"{i:06}", location=ImageLocation(long_path, i, 1)) for i in range(2000)]], by_image=False)
    assert len(pickle.dumps(index)) < 2000 * 100
