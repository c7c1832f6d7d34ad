"""Selections on a set in which clusters, near duplicates, wrong captions and hard samples were planted."""

from types import SimpleNamespace

import numpy as np
import pytest
from selecting import select

from lavis_tldr.reduction.clustering import assign
from lavis_tldr.reduction.criteria import rank_bits, score_by
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.duplicates import find_near_duplicates
from lavis_tldr.reduction.prefilter import cut_of_all, passes_cut
from lavis_tldr.reduction.prototypes import prototype_distances
from lavis_tldr.reduction.representation import normalise_rows

NUM_BLOBS, BLOB, COPIES, WIDTH = 4, 30, 10, 16


@pytest.fixture(scope="module")
def planted():
    """Four blobs of 30 samples, 10 of each hard (far out), and copies of 10 easy ones; every third caption is wrong."""
    rng = np.random.default_rng(0)
    centres = np.eye(WIDTH)[:NUM_BLOBS]
    blob = np.repeat(np.arange(NUM_BLOBS), BLOB)
    is_hard = np.tile(np.arange(BLOB) < 10, NUM_BLOBS)
    noise = normalise_rows(rng.normal(size=(len(blob), WIDTH))) * np.where(is_hard, 0.4, 0.15)[:, None]
    features = centres[blob] + noise
    copied = np.flatnonzero(~is_hard)[:: (NUM_BLOBS * 20) // COPIES]
    features = np.concatenate([features, features[copied] + 1e-4])
    blob, is_hard = np.append(blob, blob[copied]), np.append(is_hard, is_hard[copied])
    count = len(blob)
    keys = [f"{i:04d}" for i in rng.permutation(count)]
    is_wrong = np.arange(count) % 3 == 0
    alignment = np.where(is_wrong, -1.0, 1.0) + rng.uniform(-0.5, 0.5, count)
    features = features.astype(np.float32)
    centroids = np.stack([features[blob == i].mean(0) for i in range(NUM_BLOBS)])
    clusters, distance = assign(features, centroids)
    return SimpleNamespace(
        **{"keys": keys, "blob": blob, "is_hard": is_hard, "is_wrong": is_wrong, "alignment": alignment},
        **{"features": features, "clusters": clusters, "distance": distance},
        prototype_distance=prototype_distances(features, centroids, clusters),
        copy_of=np.append(np.full(count - COPIES, -1), copied),
    )


def kept_by(planted, criterion, ratio, **options):
    score = score_by(criterion, getattr(planted, {"large_distance": "distance"}.get(criterion, "prototype_distance")))
    return select(planted.keys, planted.clusters, ratio, seed=0, score=score, **options)


def test_the_blobs_are_found(planted):
    assert planted.clusters.tolist() == planted.blob.tolist()


@pytest.mark.parametrize("criterion", ["hard_sample", "large_distance"])
def test_the_hard_end(planted, criterion):
    # 40 of the 130 are hard, ten in each cluster.
    kept = kept_by(planted, criterion, 40 / 130, balance=0.0)
    assert kept.tolist() == planted.is_hard.tolist()
    few = kept_by(planted, criterion, 20 / 130)
    assert (few <= planted.is_hard).all()
    sizes = np.bincount(planted.blob)
    assert (np.abs(np.bincount(planted.blob[few]) - 20 * sizes / 130) < 1).all()


def test_the_easy_end(planted):
    assert (kept_by(planted, "easy_sample", 90 / 130, balance=0.0) == ~planted.is_hard).all()


def test_a_floor_for_each_cluster(planted):
    """One cluster is the hardest of all; half of the budget still goes to the others."""
    harder = np.where(planted.blob == 2, 1.0, planted.prototype_distance).astype(np.float32)
    without = select(planted.keys, planted.clusters, 0.2, seed=0, score=harder, balance=0.0)
    assert set(planted.blob[without]) == {2}
    with_floor = np.bincount(
        planted.blob[select(planted.keys, planted.clusters, 0.2, seed=0, score=harder, balance=0.5)]
    )
    assert with_floor.sum() == 26 and (with_floor[[0, 1, 3]] >= 3).all() and with_floor[2] >= 13


def test_wrong_captions_and_copies_go_before_the_hardest_are_kept(planted):
    bits, priority = rank_bits(planted.alignment.astype(np.float32)), draw_priority(planted.keys, 0)
    share = 1 - planted.is_wrong.mean()
    passed = passes_cut(bits, priority, cut_of_all(lambda: [(bits, priority)], len(bits), share))
    assert (passed == ~planted.is_wrong).all()
    keys, rows = np.array(planted.keys, object), np.flatnonzero(passed)
    duplicate_of = np.full(len(keys), "", object)
    duplicate_of[rows] = find_near_duplicates(
        normalise_rows(planted.features[rows]), planted.clusters[rows], 0.9999, planted.alignment[rows], keys[rows]
    )
    copies = [row for row in np.flatnonzero(planted.copy_of >= 0) if passed[row] and passed[planted.copy_of[row]]]
    expected = np.full(len(keys), "", object)
    for row in copies:
        pair = sorted((row, planted.copy_of[row]), key=lambda i: planted.alignment[i])
        expected[pair[0]] = keys[pair[1]]
    assert len(copies) > 2 and duplicate_of.tolist() == expected.tolist()
    kept = kept_by(planted, "hard_sample", 0.4, passed=passed, duplicate_of=duplicate_of, balance=0.0)
    assert kept.sum() == 52 and not (kept & (planted.is_wrong | (expected != ""))).any()
    assert kept[planted.is_hard & ~planted.is_wrong].all()
