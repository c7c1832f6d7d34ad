"""Samples left out before a selection, so that two criteria combine: the best half by one, of which another keeps half.

Paper, section 4.1: cluster sampling and the better half by ITM score. Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from lavis_tldr.reduction.cut import find_cut
from lavis_tldr.reduction.label_runs import places_in_runs
from lavis_tldr.reduction.quotas import keep_budget

Cut = tuple[int, int]  # rank bits and draw priority of the last sample that passes


def cut_of_all(blocks: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]], num_samples: int, share: float) -> Cut:
    """Where a set is cut so that the best share of it passes.

    Args:
        blocks: Gives the ``criteria.rank_bits`` and draw priorities of all samples anew at each call, in any order.
        num_samples: N, at least 1.
        share: In (0, 1], rounded as ``keep_budget`` rounds.
    """
    return find_cut(blocks, keep_budget(num_samples, share))


def passes_cut(bits: np.ndarray, priority: np.ndarray, cut: Cut) -> np.ndarray:
    """Which samples pass a cut, (N,), bool; two keys with one score and one hash pass together."""
    last_bits, last_priority = cut
    return (bits < last_bits) | ((bits == last_bits) & (priority <= last_priority))


def passes_in_clusters(cluster_ids: np.ndarray, bits: np.ndarray, priority: np.ndarray, share: float) -> np.ndarray:
    """Which samples are of the best share of their cluster, ties by draw priority, (N,), bool.

    Args:
        cluster_ids: (N,); no cluster is given in part.
        bits: ``criteria.rank_bits``, (N,).
        priority: Draw priorities, (N,).
        share: In (0, 1], rounded in each cluster as ``keep_budget`` rounds.
    """
    order = np.lexsort((priority, bits, cluster_ids))
    place = np.empty(len(order), np.int64)
    place[order] = places_in_runs(cluster_ids[order])
    _, cluster, sizes = np.unique(cluster_ids, return_inverse=True, return_counts=True)
    return place < np.array([keep_budget(size, share) for size in sizes.tolist()], np.int64)[cluster]
