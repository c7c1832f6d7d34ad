"""The draw with a soft cap against its description in plain Python, and on a planted set."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selecting import select

from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.quotas import apportion, keep_budget
from lavis_tldr.reduction.repeats import SoftCap, count_copies, deviation
from lavis_tldr.reduction.selection import SelectionRule
from lavis_tldr.reduction.standing import SCORED, UNSCORED, is_kept, stand, tier_sizes

NAN = float("nan")
NUM_CLUSTERS = 4


def keys_of(count):
    return [f"k{row:05d}" for row in range(count)]


def repeats(keys, clusters, scores, ratio, cap, *, balance=1.0, seed=1, **known):
    rule = SelectionRule(ratio, seed, balance, soft_cap=cap)
    return rule.stand(keys, np.array(clusters), score=np.array(scores, np.float32), **known).repeats()


def naive_repeats(keys, clusters, scores, ratio, cap, *, balance=1.0, seed=1, eligible=None):
    """How often each key is kept: all copies in a list, best first, cut by cluster and then over all."""
    priority = dict(zip(keys, draw_priority(keys, seed).tolist(), strict=True))
    eligible = [True] * len(keys) if eligible is None else eligible
    copies = {True: [], False: []}  # of the scored and of the others
    for key, cluster, score, is_eligible in zip(keys, clusters, scores, eligible, strict=True):
        if is_eligible and math.isnan(score):
            copies[False].append((0.0, priority[key], 0, key, cluster))
        elif is_eligible:
            for copy in range(cap.max_repeats):
                lowered = float(np.float32(float(np.float32(score)) - copy * cap.penalty))
                copies[True].append((-lowered, priority[key], copy, key, cluster))
    budget, kept = keep_budget(len(keys), ratio), Counter()
    for tier in (sorted(copies[True]), sorted(copies[False])):
        share = min(budget, len(tier))
        budget -= share
        quotas = apportion(np.bincount([c[-1] for c in tier], minlength=NUM_CLUSTERS), round(balance * share))
        given = [c for i in range(NUM_CLUSTERS) for c in [c for c in tier if c[-1] == i][: quotas[i]]]
        rest = [c for c in tier if c not in given][: share - len(given)]
        kept.update(c[3] for c in given + rest)
    return [kept[key] for key in keys]


scores_or_none = st.one_of(
    st.just(NAN), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(-2, 2, width=32), st.just(math.inf)
)
samples = st.lists(st.tuples(st.integers(0, NUM_CLUSTERS - 1), scores_or_none, st.booleans()), min_size=1, max_size=40)
caps = st.builds(SoftCap, st.integers(1, 5), st.sampled_from([0.0, 0.1, 0.25, 1.0, 7.0]))
ratios = st.floats(min_value=0, max_value=1, exclude_min=True)


@settings(max_examples=150)
@given(samples, ratios, caps, st.sampled_from([0.0, 0.3, 1.0]), st.randoms())
def test_the_draw_equals_the_naive_one_in_any_row_order(rows, ratio, cap, balance, random):
    keys = keys_of(len(rows))
    clusters, scores, twin = (list(column) for column in zip(*rows, strict=True))
    twins = np.where(twin, "other", "").astype(object)
    found = repeats(keys, clusters, scores, ratio, cap, balance=balance, duplicate_of=twins)
    eligible = [not flag for flag in twin]
    expected = naive_repeats(keys, clusters, scores, ratio, cap, balance=balance, eligible=eligible)
    assert found.tolist() == expected
    order = list(range(len(keys)))
    random.shuffle(order)
    shuffled = repeats(
        [keys[row] for row in order],
        [clusters[row] for row in order],
        [scores[row] for row in order],
        ratio,
        cap,
        balance=balance,
        duplicate_of=twins[order],
    )
    assert shuffled.tolist() == found[order].tolist()


@settings(max_examples=60)
@given(samples, ratios, caps, st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 4), st.randoms())
def test_groups_of_clusters_give_the_draw_of_all_together(rows, ratio, cap, balance, num_groups, random):
    keys = np.array(keys_of(len(rows)), object)
    clusters, scores, _ = (np.array(column) for column in zip(*rows, strict=True))
    rule = SelectionRule(ratio, 1, balance, soft_cap=cap)
    groups = list(range(num_groups))
    random.shuffle(groups)
    where = [rows for group in groups if len(rows := np.flatnonzero(clusters % num_groups == group))]
    found = [rule.stand(keys[rows], clusters[rows], score=scores[rows]) for rows in where]
    blocks = [(standings.cluster_ids[standings.rows], standings.copies) for standings in found]
    sizes = sum(tier_sizes(ids, copies.tier, NUM_CLUSTERS) for ids, copies in blocks)
    counts = rule.count(sizes, lambda: blocks, num_samples=len(keys))
    together = np.zeros(len(keys), int)
    for rows, standings, (ids, copies) in zip(where, found, blocks, strict=True):
        kept = is_kept(ids, copies.tier, copies.place, counts)
        together[rows] = count_copies(standings.rows, kept, len(rows))
    assert together.tolist() == repeats(keys, clusters, scores, ratio, cap, balance=balance).tolist()


@settings(max_examples=50)
@given(samples, ratios, st.sampled_from([0.0, 0.3, 1.0]))
def test_one_place_at_most_is_the_selection_without(rows, ratio, balance):
    keys = keys_of(len(rows))
    clusters, scores, _ = (np.array(column) for column in zip(*rows, strict=True))
    found = repeats(keys, clusters, scores, ratio, SoftCap(), balance=balance)
    kept = select(keys, clusters, ratio, seed=1, score=scores.astype(np.float32), balance=balance)
    assert found.tolist() == kept.astype(int).tolist()
    # As do repeats that no score is worth: all firsts stand before any second.
    finite = np.where(np.isinf(scores), 2.0, scores)
    far = repeats(keys, clusters, finite, ratio, SoftCap(3, 100.0), balance=0.0)
    alone = select(keys, clusters, ratio, seed=1, score=finite.astype(np.float32), balance=0.0)
    if np.isfinite(finite).sum() >= keep_budget(len(keys), ratio):
        assert far.tolist() == alone.astype(int).tolist()


def test_copies_by_hand():
    # a: 1.0, 0.6, 0.2; b: 0.7, 0.3, -0.1; c: 0.5, 0.1, -0.3; d: 0.0, ... Five places of six samples:
    # a, b, a again, c, b again (0.3, before a's third, 0.2).
    scores = [1.0, 0.7, 0.5, 0.0, -1.0, -1.0]
    found = repeats(list("abcdef"), [0] * 6, scores, 5 / 6, SoftCap(3, 0.4))
    assert found.tolist() == [2, 2, 1, 0, 0, 0]
    # Twice at most: the sixth place is a's third no more, but c's second (0.1).
    assert repeats(list("abcdef"), [0] * 6, scores, 1.0, SoftCap(3, 0.4)).tolist() == [3, 2, 1, 0, 0, 0]
    assert repeats(list("abcdef"), [0] * 6, scores, 1.0, SoftCap(2, 0.4)).tolist() == [2, 2, 2, 0, 0, 0]
    # By cluster each half has three places: a, b, a again; and d, whose third (-0.8) is still before e.
    assert repeats(list("abcdef"), [0, 0, 0, 1, 1, 1], scores, 1.0, SoftCap(3, 0.4)).tolist() == [2, 1, 0, 3, 0, 0]


def test_the_unscored_wait_for_all_copies():
    # Two scored samples of four, three places each: the budget of four is theirs alone.
    scores = [1.0, 0.9, NAN, NAN]
    assert repeats(list("abcd"), [0] * 4, scores, 1.0, SoftCap(3, 0.2)).tolist() == [2, 2, 0, 0]
    assert sorted(repeats(list("abcd"), [0] * 4, [1.0, NAN, NAN, NAN], 1.0, SoftCap(3, 0.2)).tolist()) == [0, 0, 1, 3]


def test_standing_of_copies_by_hand():
    standing = stand(list("ab"), np.array([0, 0]), seed=0, score=np.array([1.0, NAN], np.float32))
    rows, copies = SoftCap(3, 0.5).copies(standing, np.array([0, 0]), np.array([1.0, NAN], np.float32))
    assert rows.tolist() == [0, 0, 0, 1]
    assert copies.tier.tolist() == [SCORED, SCORED, SCORED, UNSCORED]
    assert copies.place.tolist() == [0, 1, 2, 0]


def test_a_best_tenth_worth_repeating():
    """Scores of a tenth of the pairs lie far above the others': it fills the places as far as it may."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=400)
    scores[:40] += 8
    cap = SoftCap.of({"max_repeats": 4, "repeat_penalty": 0.5}, lambda: [scores])
    found = repeats(keys_of(400), [0] * 400, scores, 0.25, cap)
    # 100 places: of the 160 copies of the best tenth those that cost least, two or three of each.
    assert found.sum() == 100
    assert found[:40].sum() == 100 and found[:40].min() >= 1
    assert repeats(keys_of(400), [0] * 400, scores, 0.5, cap)[:40].tolist() == [4] * 40
    # Scores drawn alike have no such end: most that are kept are so once.
    alike = rng.normal(size=400)
    cap = SoftCap.of({"max_repeats": 4, "repeat_penalty": 2.0}, lambda: [alike])
    found = repeats(keys_of(400), [0] * 400, alike, 0.25, cap)
    assert found.sum() == 100 and (found == 1).sum() > 0.8 * (found > 0).sum()


@given(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.just(NAN) | st.just(math.inf), max_size=40),
    st.randoms(),
    st.integers(1, 7),
)
def test_deviation_has_the_same_bits_in_any_blocks(values, random, size):
    finite = [float(value) for value in values if math.isfinite(value)]
    expected = 1.0
    if finite:
        mean = math.fsum(finite) / len(finite)
        expected = math.sqrt(math.fsum((value - mean) * (value - mean) for value in finite) / len(finite)) or 1.0
    random.shuffle(values)
    blocks = [np.array(values[start : start + size], np.float32) for start in range(0, len(values), size)]
    assert deviation(lambda: blocks) == expected


def test_settings_at_their_default_ask_for_no_scores():
    def nobody():
        raise AssertionError

    assert SoftCap.of({"selection": "aligned"}, nobody) == SoftCap()
    assert SoftCap.of({"max_repeats": 3, "repeat_penalty": 0.5}, lambda: [np.array([1.0, 5.0])]) == SoftCap(3, 1.0)


@pytest.mark.parametrize("max_repeats", [2, 5])
def test_without_penalty_the_kept_are_kept_as_often_as_may_be(max_repeats):
    rng = np.random.default_rng(1)
    found = repeats(keys_of(60), [0] * 60, rng.normal(size=60), 0.5, SoftCap(max_repeats, 0.0))
    assert sorted(found.tolist())[::-1] == [max_repeats] * (30 // max_repeats) + [0] * (60 - 30 // max_repeats)
