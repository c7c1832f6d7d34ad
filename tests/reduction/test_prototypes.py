"""Cosine distances to the own centroid, by hand and against 1 - cos in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis_tldr.reduction.prototypes import prototype_distances, sizes_and_spreads


def test_by_hand():
    centroids = np.array([[1, 0], [0, 2]], np.float32)
    features = np.array([[5, 0], [-3, 0], [0, 1], [1, 1], [1, 1]], np.float32)
    found = prototype_distances(features, centroids, np.array([0, 0, 0, 0, 1]))
    assert found.dtype == np.float32
    assert found[:3].tolist() == [0, 2, 1]
    assert found[3:] == pytest.approx([1 - math.sqrt(0.5)] * 2)


def test_zero_vectors_have_no_direction():
    points = np.array([[0, 0], [1, 0], [0, 0]], np.float32)
    centroids = np.array([[1, 2], [0, 0]], np.float32)
    assert prototype_distances(points, centroids, np.array([0, 1, 1])).tolist() == [1, 1, 0]


def test_nobody():
    assert prototype_distances(np.zeros((0, 3), np.float32), np.ones((2, 3)), np.zeros(0, int)).tolist() == []


vectors = st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4)


@settings(max_examples=200)
@given(vectors, vectors, st.floats(2**-10, 2**10, width=32))
def test_it_is_the_cosine_distance(one, other, factor):
    features = np.array([one], np.float32)
    found = float(prototype_distances(features, np.array([other], np.float32), np.array([0]))[0])
    assert 0 <= found <= 2
    if any(one) and any(other):
        cosine = math.fsum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)
        assert found == pytest.approx(1 - cosine, abs=1e-6)
    # A point on its centroid, whatever the length.
    assert prototype_distances(features, features, np.array([0])).tolist() == [0]
    longer = features.astype(np.float64) * factor
    assert prototype_distances(longer, features, np.array([0])).tolist() == [0]


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    features, centroids = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=(3, 8)).astype(np.float32)
    clusters = rng.integers(3, size=50)
    whole = prototype_distances(features, centroids, clusters)
    monkeypatch.setattr("lavis_tldr.reduction.prototypes._BLOCK_ELEMENTS", 24)
    assert prototype_distances(features, centroids, clusters).tolist() == whole.tolist()


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 2, width=32)), max_size=40), st.randoms())
def test_spreads_do_not_depend_on_the_order(rows, random):
    rows = [(cluster, round(distance * 2**32) / 2**32) for cluster, distance in rows]

    def of(rows, bounds):
        blocks = [rows[start:stop] for start, stop in zip([0, *bounds], [*bounds, len(rows)], strict=True)]
        columns = ((np.array([c for c, _ in b], int), np.array([d for _, d in b], np.float32)) for b in blocks)
        return [values.tolist() for values in sizes_and_spreads(columns, 5)]

    found = of(rows, [])
    members = [[distance for cluster, distance in rows if cluster == c] for c in range(5)]
    assert found[0] == [len(own) for own in members]
    assert found[1] == pytest.approx([sum(own) / len(own) if own else 0 for own in members])
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert of(shuffled, [len(rows) // 3, len(rows) // 2]) == found
