import numpy as np
import pyarrow as pa
import pytest

from lavis_tldr.advice.coverage import Coverage, RareWordsKept, effective_number, near_duplicate_share


def test_coverage_by_hand():
    coverage = Coverage(num_clusters=3, num_codes=10, aligned_from=0.5)
    coverage.add(np.array([0, 0]), np.array([0.5, np.nan], np.float32), np.array([[1, 2], [2, 2]]))
    coverage.add(np.array([2, 2]), np.array([0.25, 0.75], np.float32), np.array([[9, 1], [0, 1]]))
    coverage.add(np.zeros(0, int), np.zeros(0, np.float32), np.zeros((0, 2), int))
    assert coverage.facts() == {
        "pairs": 4,
        "clusters": 2,
        "effective_clusters": pytest.approx(2),
        "codes_seen": 0.4,  # 0, 1, 2 and 9
        "mean_alignment": pytest.approx(0.5),
        "aligned": pytest.approx(2 / 3),  # 0.5 and 0.75 of three that were scored
    }


def test_nothing_is_made_up():
    coverage = Coverage(3, 4, aligned_from=None)
    facts = coverage.facts()
    assert facts["pairs"] == facts["clusters"] == facts["effective_clusters"] == facts["codes_seen"] == 0
    assert facts["mean_alignment"] is None and facts["aligned"] is None
    coverage.add(np.array([0]), np.array([1.0], np.float32), np.array([[0]]))
    assert coverage.facts()["mean_alignment"] == 1 and coverage.facts()["aligned"] is None


def test_effective_number_by_hand():
    assert effective_number(np.array([5, 5, 5, 0])) == pytest.approx(3)
    # Shares 1/2, 1/4, 1/4: entropy 1.5 bits.
    assert effective_number(np.array([2, 1, 1])) == pytest.approx(2**1.5)
    assert effective_number(np.zeros(3, int)) == 0


def test_near_duplicates_by_hand():
    # a, b and c point nearly one way, c in another cluster; d to the side.
    features = np.array([[1.0, 0.0], [2.0, 0.1], [3.0, 0.0], [0.0, 1.0]])
    clusters, keys = np.array([0, 0, 1, 0]), ["a", "b", "c", "d"]
    assert near_duplicate_share(features, clusters, keys, 0.99) == 0.25
    assert near_duplicate_share(features, np.zeros(4, int), keys, 0.99) == 0.5
    assert near_duplicate_share(features, clusters, keys, 1.0) == 0
    assert near_duplicate_share(features[:0], clusters[:0], [], 0.9) is None


def test_rare_words_by_hand():
    # "dog" is in six captions, more than five; "kite" and "Brest" are rare.
    captions = [["a dog", "a dog", "the dog", "dog", "dog and kite"], ["dog in Brest", "a brest"]]
    kept = [np.array([True] * 4 + [False]), np.array([False, True])], [np.array([False] * 5), np.array([True, False])]
    words = RareWordsKept(3)
    nothing = [np.zeros(5, bool), np.zeros(2, bool)]
    for part, texts in enumerate(captions):
        words.add(pa.chunked_array([texts]), [kept[0][part], kept[1][part], nothing[part]])
    assert words.shares() == [0.5, 0.5, 0.0]
    words = RareWordsKept(1)
    words.add(pa.chunked_array([["the", ""]]), [np.ones(2, bool)])
    assert words.shares() == [None]
