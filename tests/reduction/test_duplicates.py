import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis_tldr.reduction.duplicates import find_near_duplicates


def directions(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def find(features, clusters=None, threshold=0.95, rank=None, keys=None, **kwargs):
    count = len(features)
    clusters = np.zeros(count, dtype=int) if clusters is None else np.array(clusters)
    rank = np.arange(count)[::-1] if rank is None else np.array(rank, dtype=float)
    keys = list("abcdefghij"[:count]) if keys is None else keys
    return find_near_duplicates(features, clusters, threshold, rank, keys, **kwargs).tolist()


def test_by_hand():
    # cos 15 = 0.966 is a repeat, cos 20 = 0.940 is not; c is near b, but b does not stay, so c does
    assert find(directions(0, 15, 30, 90)) == ["", "a", "", ""]
    # ranked the other way: c stays, b repeats c, a stays
    assert find(directions(0, 15, 30, 90), rank=[1, 2, 3, 4]) == ["", "c", "", ""]


def test_a_repeat_of_two_names_the_better_one():
    # b lies 18 degrees (cos 0.951) from a and only 10 from c, but a ranks first
    assert find(directions(0, 18, 28), rank=[3, 1, 2]) == ["", "a", ""]


def test_clusters_are_kept_apart():
    assert find(directions(0, 0, 0), clusters=[1, 7, 1]) == ["", "", "a"]


def test_ties_of_rank_fall_to_the_smaller_key_and_nan_is_last():
    assert find(directions(0, 0, 0), rank=[1, 1, 1], keys=["z", "m", "n"]) == ["m", "", "m"]
    assert find(directions(0, 0), rank=[np.nan, -5]) == ["b", ""]


def test_threshold_one_finds_the_same_vector():
    features = np.random.default_rng(0).standard_normal((1, 300)).astype(np.float32).repeat(3, axis=0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    assert find(features, threshold=1.0) == ["", "a", "a"]


def test_zero_rows_repeat_nothing():
    assert find(np.zeros((3, 2))) == ["", "", ""]


def test_none_and_one():
    assert find(np.empty((0, 2))) == []
    assert find(directions(5)) == [""]


def naive(features, clusters, threshold, rank, keys):
    twin = {}
    for row in sorted(range(len(keys)), key=lambda r: (-rank[r], keys[r])):
        better = [
            other
            for other in twin
            if twin[other] == "" and clusters[other] == clusters[row] and features[other] @ features[row] >= threshold
        ]
        twin[row] = keys[better[0]] if better else ""
    return [twin[row] for row in range(len(keys))]


@settings(max_examples=60)
@given(
    # angles of whole degrees: no cosine lies within rounding of the threshold
    st.lists(st.tuples(st.integers(0, 359), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=30),
    st.sampled_from([1, 3, 100]),
)
def test_equals_the_naive_greedy_in_any_block_size(rows, block_size):
    angles, clusters, rank = zip(*rows, strict=True)
    keys = [f"k{(row * 7) % 31:02d}" for row in range(len(rows))]
    features = directions(*angles)
    expected = naive(features, clusters, 0.9, rank, keys)
    assert find(features, clusters, 0.9, rank, keys, block_size=block_size) == expected


def test_bad_input():
    with pytest.raises(ValueError, match=r"threshold is 1.2; .*\(0, 1\]"):
        find(directions(0), threshold=1.2)
    with pytest.raises(ValueError, match=r"row 1 \(key 'b'\) has length 2; .*'histogram' or 'embedding'"):
        find(directions(0, 0) * [[1], [2]])
    with pytest.raises(ValueError, match="'keys': 1"):
        find(directions(0, 0), keys=["a"])
