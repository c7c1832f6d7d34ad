"""Which samples pass a filter, against sorting them in plain Python."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis_tldr.reduction.criteria import rank_bits
from lavis_tldr.reduction.prefilter import cut_of_all, passes_cut, passes_in_clusters

NAN = float("nan")
# Few priorities, so that all kinds of ties come up; two samples with one score and one priority can't be told apart.
rows_of_samples = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from([NAN, -math.inf, -1.0, -0.0, 0.0, 0.5, 2.0, math.inf])),
    min_size=1,
    max_size=40,
)
shares = st.floats(0.01, 1)


def columns(rows, random):
    priority = list(range(len(rows)))
    random.shuffle(priority)
    clusters, scores = (np.array(column) for column in zip(*rows, strict=True))
    return clusters, scores.astype(np.float32), np.array(priority, np.uint64)


def naive(scores, priority, share):
    order = sorted(
        range(len(scores)), key=lambda i: (np.isnan(scores[i]), 0 if np.isnan(scores[i]) else -scores[i], priority[i])
    )
    passing = set(order[: max(1, round(len(scores) * share))])
    return [i in passing for i in range(len(scores))]


@settings(max_examples=100)
@given(rows_of_samples, shares, st.integers(1, 5), st.randoms())
def test_the_best_of_all_whatever_the_blocks(rows, share, num_blocks, random):
    _, scores, priority = columns(rows, random)
    bits = rank_bits(scores)
    blocks = [(bits[start::num_blocks], priority[start::num_blocks]) for start in range(num_blocks)]
    random.shuffle(blocks)
    cut = cut_of_all(lambda: blocks, len(rows), share)
    assert passes_cut(bits, priority, cut).tolist() == naive(scores, priority, share)


@settings(max_examples=100)
@given(rows_of_samples, shares, st.randoms())
def test_the_best_of_each_cluster(rows, share, random):
    clusters, scores, priority = columns(rows, random)
    found = passes_in_clusters(clusters, rank_bits(scores), priority, share)
    for cluster in set(clusters.tolist()):
        own = clusters == cluster
        assert found[own].tolist() == naive(scores[own], priority[own], share)


def test_a_cluster_of_one_passes_and_a_group_without_samples_is_no_matter():
    bits = rank_bits(np.array([NAN, 1.0], np.float32))
    assert passes_in_clusters(np.array([3, 7]), bits, np.array([1, 0], np.uint64), 0.01).tolist() == [True, True]
    none = np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.uint64)
    assert passes_in_clusters(*none, 0.5).tolist() == []
