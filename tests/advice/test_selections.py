from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selecting import select

from lavis_tldr.advice.selections import Candidates
from lavis_tldr.reduction.quotas import apportion, apportion_by_weight
from lavis_tldr.reduction.selection import SelectionRule

RATIOS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0)
NUM_CLUSTERS = 5
WEIGHTS = np.array([8, 4, 2, 1, 1])


def draw_candidates(seed: int, num_samples: int = 200) -> Candidates:
    rng = np.random.default_rng(seed)
    score = rng.normal(size=num_samples).astype(np.float32)
    score[rng.random(num_samples) < 0.2] = np.nan
    return Candidates(
        np.array([f"{i:04}" for i in range(num_samples)], object),
        rng.choice(NUM_CLUSTERS, num_samples, p=[0.5, 0.25, 0.15, 0.1, 0]),
        score,
        rng.random(num_samples) < 0.9,
    )


def rule(balance: float, quotas=apportion) -> SelectionRule:
    return SelectionRule(1.0, 3, balance, quotas, NUM_CLUSTERS)


@given(st.integers(0, 1000), st.sampled_from(RATIOS), st.sampled_from([0.0, 0.5, 1.0]), st.booleans())
@settings(max_examples=50, deadline=None)
def test_a_ratio_keeps_what_select_keeps(seed, ratio, balance, by_density):
    quotas = partial(apportion_by_weight, weights=WEIGHTS) if by_density else apportion
    found = draw_candidates(seed)
    # Select knows twins by the key of the better one, here left out like what is filtered.
    twins = np.where(found.passed, "", "other")
    expected = select(
        found.keys,
        found.cluster_ids,
        ratio,
        seed=3,
        score=found.score,
        duplicate_of=twins,
        balance=balance,
        quotas=partial(apportion_by_weight, weights=WEIGHTS[: found.cluster_ids.max() + 1]) if by_density else quotas,
    )
    kept = found.stand(rule(balance, quotas)).kept(ratio)
    assert np.array_equal(kept, expected)
    assert not (kept & ~found.passed).any()


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_ratios_are_nested_but_for_one_of_a_cluster(balance, seed):
    candidates = draw_candidates(seed)
    standings = candidates.stand(rule(balance))
    sets = [standings.kept(ratio) for ratio in RATIOS]
    for smaller, larger in zip(sets, sets[1:], strict=False):
        gone = smaller & ~larger
        assert np.bincount(candidates.cluster_ids[gone], minlength=NUM_CLUSTERS).max() <= 1
        if balance == 0:
            assert not gone.any()


def test_the_best_are_kept_by_hand():
    keys = np.array(list("abcdef"), object)
    score = np.array([6, 5, 4, 3, 2, 1], np.float32)
    passed = np.array([False, True, True, True, True, True])
    # Half of six, in proportion to the 2 and 3 that pass: quotas 1.2 and 1.8, so 1 and 2.
    found = Candidates(keys, np.array([0, 0, 0, 1, 1, 1]), score, passed)
    assert "".join(keys[found.stand(rule(1.0)).kept(0.5)]) == "bde"
    assert "".join(keys[found.stand(rule(0.0)).kept(0.5)]) == "bcd"
