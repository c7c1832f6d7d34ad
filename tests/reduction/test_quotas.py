"""Budgets shared among clusters, by size and by density, against exact oracles."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis_tldr.reduction.prototypes import prototype_distances, sizes_and_spreads
from lavis_tldr.reduction.quotas import (
    apportion,
    apportion_by_weight,
    density_weights,
    keep_budget,
    neighbour_distances,
)

NAN = float("nan")
ratios = st.floats(min_value=0, max_value=1, exclude_min=True)


def allocate_quotas(sizes, ratio):
    return apportion(sizes, keep_budget(int(np.sum(sizes)), ratio))


# ------------------------------------------------------------------------------------------------ by size


def test_quotas_by_hand():
    # 10 samples, half: 5. Shares 3.5, 1, 0.5, 0: floors 3, 1, 0; the one left goes to the lower id of the tie
    assert allocate_quotas(np.array([7, 2, 1, 0]), 0.5).tolist() == [4, 1, 0, 0]
    # 10 samples, 0.3: 3. Shares 1.5, 0.9, 0.6: floors 1, 0, 0; the two left go to 0.9 and 0.6
    assert allocate_quotas(np.array([5, 3, 2]), 0.3).tolist() == [1, 1, 1]


def test_quotas_keep_at_least_one_and_nothing_of_nothing():
    assert allocate_quotas(np.array([0, 3]), 1e-9).tolist() == [0, 1]
    assert allocate_quotas(np.array([0, 0]), 0.5).tolist() == [0, 0]
    assert allocate_quotas(np.array([], dtype=int), 0.5).tolist() == []


def test_quotas_of_forty_million_do_not_overflow():
    assert allocate_quotas(np.array([30_000_000, 10_000_000]), 0.2).tolist() == [6_000_000, 2_000_000]


@given(st.lists(st.integers(0, 200), max_size=30), ratios)
def test_quotas_sum_to_the_budget_and_stay_near_the_share(sizes, ratio):
    sizes = np.array(sizes, dtype=np.int64)
    quotas = allocate_quotas(sizes, ratio)
    budget = keep_budget(int(sizes.sum()), ratio)
    assert quotas.sum() == budget
    assert (quotas >= 0).all() and (quotas <= sizes).all()
    if budget:
        assert (np.abs(quotas - sizes * budget / sizes.sum()) < 1).all()


@pytest.mark.parametrize("ratio", [0, -0.1, 1.01, NAN, 25])
def test_ratio_out_of_range(ratio):
    with pytest.raises(ValueError, match=r"keep_ratio is .*above 0 and at most 1.*0.25 keeps a quarter"):
        allocate_quotas(np.array([3]), ratio)


def test_a_percentage_gets_advice():
    with pytest.raises(ValueError, match="25 percent, write 0.25"):
        keep_budget(10, 25)


# ------------------------------------------------------------------------------------------- by any weights


def naive_by_weight(sizes, budget, weights):
    """Round after round, those that would get more than they hold are filled, and the rest share what is left."""
    quotas, waiting = [0] * len(sizes), [c for c in range(len(sizes)) if sizes[c]]
    while True:
        total = sum(weights[c] for c in waiting)
        shares = {c: Fraction(weights[c] * (budget - sum(quotas)), total) for c in waiting}
        full = [c for c in waiting if shares[c] >= sizes[c]]
        if not full:
            break
        for c in full:
            quotas[c] = sizes[c]
        waiting = [c for c in waiting if c not in full]
    left = budget - sum(quotas)
    for c in waiting:
        quotas[c] = math.floor(shares[c])
        left -= quotas[c]
    for c in sorted(waiting, key=lambda c: (quotas[c] - shares[c], c))[:left]:
        quotas[c] += 1
    return quotas


def test_by_weight_by_hand():
    # Shares 6, 3, 1 of 10: the first holds but 2, so the others share the 8 left, 6 and 2
    assert apportion_by_weight([2, 20, 20], 10, [6, 3, 1]).tolist() == [2, 6, 2]
    # 3 and 1 of the 8 again, but the second holds 5: three are left for the third
    assert apportion_by_weight([2, 5, 20], 10, [6, 3, 1]).tolist() == [2, 5, 3]
    # thirds of 4: 1 each, the one left to the lower id of the tie; an empty cluster gets none
    assert apportion_by_weight([9, 0, 9, 9], 4, [1, 7, 1, 1]).tolist() == [2, 0, 1, 1]
    assert apportion_by_weight([3, 2], 5, [1, 2**40]).tolist() == [3, 2]
    assert apportion_by_weight([0, 0], 0, [0, 0]).tolist() == [0, 0]


def test_more_than_there_is():
    with pytest.raises(ValueError, match="budget is 6, but the clusters hold 5"):
        apportion_by_weight([3, 2], 6, [1, 1])


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 2**40)), max_size=12), st.floats(0, 1))
def test_by_weight_equals_the_naive_rounds(clusters, share):
    sizes, weights = [size for size, _ in clusters], [weight for _, weight in clusters]
    budget = round(share * sum(sizes))
    quotas = apportion_by_weight(sizes, budget, weights)
    assert quotas.tolist() == naive_by_weight(sizes, budget, weights)
    assert quotas.sum() == budget and (quotas <= sizes).all()


@given(st.lists(st.integers(0, 30), max_size=12), st.floats(0, 1))
def test_weights_like_the_sizes_give_the_quotas_by_size(sizes, share):
    budget = round(share * sum(sizes))
    assert apportion_by_weight(sizes, budget, sizes).tolist() == apportion(sizes, budget).tolist()


# ----------------------------------------------------------------------------------------------- by density


def test_neighbours_by_hand():
    # Cosines: 0 between the axes, sqrt(1/2) to the diagonal, -1 to the opposite
    points = np.array([[2, 0], [0, 3], [1, 1], [-1, 0]], np.float32)
    near = 1 - math.sqrt(0.5)
    assert neighbour_distances(points, 1) == pytest.approx([near, near, near, 1])
    assert neighbour_distances(points, 2) == pytest.approx(
        [(near + 1) / 2, (near + 1) / 2, near, (1 + 1 - -(1 - near)) / 2]
    )
    assert neighbour_distances(points) == pytest.approx(
        [(near + 1 + 2) / 3, (near + 1 + 1) / 3, (near + near + 2 - near) / 3, (2 + 1 + 2 - near) / 3]
    )
    assert neighbour_distances(points[:1]).tolist() == [0]
    assert neighbour_distances(np.zeros((2, 3))).tolist() == [1, 1]  # zero vectors are like no other
    assert neighbour_distances(np.zeros((0, 3))).tolist() == []


def test_neighbours_in_blocks(monkeypatch):
    points = np.random.default_rng(0).normal(size=(30, 5))
    whole = neighbour_distances(points)
    monkeypatch.setattr("lavis_tldr.reduction.quotas._BLOCK_ROWS", 7)
    assert neighbour_distances(points).tolist() == whole.tolist()


def test_wide_and_lonely_clusters_weigh_more():
    """Planted: a tight and a wide cluster side by side, a wide one far from both, and one without members."""
    rng = np.random.default_rng(1)
    centres = np.array([[1, 0.1, 0], [1, -0.1, 0], [0, 0, 1], [0, 1, 0]])
    noise = np.array([0.01, 0.2, 0.2])
    clusters = np.repeat([0, 1, 2], 50)
    points = centres[clusters] + noise[clusters, None] * rng.normal(size=(150, 3))
    means = np.stack([points[clusters == c].mean(0) for c in range(3)] + [centres[3]])
    distances = prototype_distances(points, means, clusters)
    sizes, spreads = sizes_and_spreads([(clusters, distances)], 4)
    weights = density_weights(sizes, spreads, means, 0.1)
    assert weights[3] == 0 and weights[0] < weights[1] < weights[2] == 2**40
    quotas = apportion_by_weight(sizes, 60, weights)
    assert quotas[3] == 0 and quotas[0] < quotas[1] < quotas[2] and quotas.sum() == 60
    naive = []
    for c in range(3):
        cosines = [means[c] @ means[o] / math.hypot(*means[c]) / math.hypot(*means[o]) for o in range(3) if o != c]
        naive.append(spreads[c] * (1 - sum(cosines) / 2))
    expected = np.exp((np.array(naive) - max(naive)) / 0.1)
    assert weights[:3] / 2**40 == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [1e-6, 0.1, 1e6])
def test_every_cluster_with_members_weighs_something(temperature):
    centroids = np.random.default_rng(2).normal(size=(6, 4))
    sizes, spreads = np.array([5, 0, 1, 9, 1, 3]), np.array([0.9, 0.0, 0.0, 0.5, 0.1, 2.0])
    weights = density_weights(sizes, spreads, centroids, temperature)
    assert (weights[sizes > 0] >= 1).all() and weights[1] == 0 and weights.max() == 2**40
    assert apportion_by_weight(sizes, 19, weights).tolist() == sizes.tolist()


def test_one_cluster_and_none():
    assert density_weights(np.array([3]), np.array([0.2]), np.ones((1, 2)), 0.1).tolist() == [2**40]
    assert density_weights(np.array([0, 0]), np.zeros(2), np.ones((2, 2)), 0.1).tolist() == [0, 0]
