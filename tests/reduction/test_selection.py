import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selecting import select, select_uniform

from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.quotas import apportion, keep_budget
from lavis_tldr.reduction.selection import count_kept
from lavis_tldr.reduction.standing import (
    FILTERED,
    SCORED,
    TWIN,
    UNSCORED,
    Standing,
    is_kept,
    stand,
    tier_sizes,
    understudies,
)

NAN = float("nan")
ratios = st.floats(min_value=0, max_value=1, exclude_min=True)


def keys_of(count):
    return [f"k{row:05d}" for row in range(count)]


def by_score(keys, clusters, score, ratio, **options):
    return select(keys, clusters, ratio, score=score, **options)


# ------------------------------------------------------------------------------------------------ uniform


def naive_uniform(keys, cluster_ids, ratio, seed):
    quotas = apportion(np.bincount(cluster_ids), keep_budget(len(keys), ratio))
    priority = dict(zip(keys, draw_priority(keys, seed), strict=True))
    kept = set()
    for cluster, quota in enumerate(quotas):
        members = [key for key, own in zip(keys, cluster_ids, strict=True) if own == cluster]
        kept |= set(sorted(members, key=priority.get)[:quota])
    return [key in kept for key in keys]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), ratios, st.integers(0, 3), st.randoms())
def test_uniform_equals_the_naive_draw_in_any_row_order(cluster_ids, ratio, seed, random):
    keys, cluster_ids = keys_of(len(cluster_ids)), np.array(cluster_ids)
    kept = select_uniform(keys, cluster_ids, ratio, seed=seed)
    assert kept.dtype == bool
    assert kept.tolist() == naive_uniform(keys, cluster_ids, ratio, seed)
    order = list(range(len(keys)))
    random.shuffle(order)
    shuffled = select_uniform([keys[row] for row in order], cluster_ids[order], ratio, seed=seed)
    assert shuffled.tolist() == kept[order].tolist()


def test_uniform_draws_otherwise_with_another_seed():
    keys, clusters = keys_of(40), np.zeros(40, dtype=int)
    first, second = (select_uniform(keys, clusters, 0.5, seed=seed) for seed in (0, 1))
    assert first.sum() == second.sum() == 20
    assert first.tolist() != second.tolist()


def test_uniform_on_nothing_and_on_everything():
    assert select_uniform([], np.array([], dtype=int), 0.25, seed=0).tolist() == []
    assert select_uniform(["a", "b"], np.array([0, 5]), 1.0, seed=0).tolist() == [True, True]


def test_a_sample_without_cluster_is_refused():
    with pytest.raises(ValueError, match=r"sample 'b' has no cluster \(-1\).*usable"):
        select_uniform(["a", "b"], np.array([0, -1]), 0.5, seed=0)
    with pytest.raises(ValueError, match="for 2 keys"):
        select_uniform(["a", "b"], np.array([0]), 0.5, seed=0)


# ----------------------------------------------------------------------------------------------- by score

CLUSTERS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])


def kept_rows(*args, **kwargs):
    keys = keys_of(len(args[0]))
    return np.flatnonzero(by_score(keys, *args, **{"seed": 0, **kwargs})).tolist()


def test_by_score_takes_the_best_of_each_cluster():
    assert kept_rows(CLUSTERS, SCORES, 0.5) == [0, 1, 4, 5]


def test_balance_between_clusters_and_all():
    assert kept_rows(CLUSTERS, SCORES, 0.5, balance=0.0) == [0, 1, 2, 3]
    # half of the four by cluster (rows 0 and 4), the other two the best that are left
    assert kept_rows(CLUSTERS, SCORES, 0.5, balance=0.5) == [0, 1, 2, 4]


def test_by_score_keeps_no_near_duplicate_and_fills_the_budget():
    twins = ["", "k00000", "", "", "", "k00004", "k00004", "k00004"]
    # eligible: rows 0, 2, 3 and 4; the budget of four takes them all
    assert kept_rows(CLUSTERS, SCORES, 0.5, duplicate_of=twins) == [0, 2, 3, 4]
    # a budget of two, shares 1.5 and 0.5 of the eligible: the tie of remainders goes to cluster 0
    assert kept_rows(CLUSTERS, SCORES, 0.25, duplicate_of=twins) == [0, 2]
    # more budget than eligible samples
    assert kept_rows(CLUSTERS, SCORES, 1.0, duplicate_of=twins) == [0, 2, 3, 4]


def test_unscored_samples_come_last():
    scores = np.array([NAN, NAN, NAN, NAN, 0.5, 0.4, 0.3, -9.0])
    assert kept_rows(CLUSTERS, scores, 0.5) == [4, 5, 6, 7]
    # all four scored ones and, by draw, two unscored ones
    priority = draw_priority(keys_of(8), 0)
    drawn = sorted(range(4), key=lambda row: priority[row])[:2]
    assert kept_rows(CLUSTERS, scores, 0.75) == sorted(drawn) + [4, 5, 6, 7]


def test_without_any_score_aligned_is_uniform():
    keys = keys_of(8)
    aligned = by_score(keys, CLUSTERS, np.full(8, NAN), 0.5, seed=4)
    assert aligned.tolist() == select_uniform(keys, CLUSTERS, 0.5, seed=4).tolist()


def test_ties_fall_to_the_draw():
    keys = keys_of(8)
    aligned = by_score(keys, CLUSTERS, np.full(8, 0.5), 0.5, seed=4)
    assert aligned.tolist() == select_uniform(keys, CLUSTERS, 0.5, seed=4).tolist()


scores_or_none = st.one_of(st.just(NAN), st.sampled_from([0.0, 0.25, 0.5, 1.0]))


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.integers(0, 4), scores_or_none, st.booleans()), min_size=1, max_size=40),
    ratios,
    st.floats(0, 1),
    st.randoms(),
)
def test_by_score_keeps_its_promises(rows, ratio, balance, random):
    keys = np.array(keys_of(len(rows)), dtype=object)
    clusters, scores, twin = (np.array(column) for column in zip(*rows, strict=True))
    twins = np.where(twin, "other", "").astype(object)
    kept = by_score(keys, clusters, scores, ratio, seed=1, balance=balance, duplicate_of=twins)
    eligible = ~twin
    assert kept.sum() == min(keep_budget(len(rows), ratio), eligible.sum())
    assert not (kept & twin).any()
    if (kept & np.isnan(scores)).any():  # then no scored one was left
        assert kept[eligible & ~np.isnan(scores)].all()
    for cluster in set(clusters.tolist()):
        mine = eligible & (clusters == cluster) & ~np.isnan(scores)
        if (mine & kept).any() and (mine & ~kept).any():
            assert scores[mine & kept].min() >= scores[mine & ~kept].max()
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = by_score(
        keys[order], clusters[order], scores[order], ratio, seed=1, balance=balance, duplicate_of=twins[order]
    )
    assert shuffled.tolist() == kept[order].tolist()


def test_by_score_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"balance is 2; it must be in \[0, 1\]"):
        kept_rows(CLUSTERS, SCORES, 0.5, balance=2)
    with pytest.raises(ValueError, match="each of the 8 keys"):
        kept_rows(CLUSTERS, SCORES[:3], 0.5)
    with pytest.raises(ValueError, match="keep_ratio is 0"):
        kept_rows(CLUSTERS, SCORES, 0)


# ------------------------------------------------------------------------------------------ standing, by groups


samples = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.sampled_from([NAN, 0.1, 0.25, 0.5, 0.75, -1.0, 0.0, -0.0]),
        st.sampled_from(["", "", "", "twin"]),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=200)
@given(samples, ratios, st.sampled_from([0, 0.3, 0.5, 1.0]), st.integers(1, 7), st.randoms())
def test_groups_of_clusters_give_the_selection_of_all_together(rows, ratio, balance, num_groups, random):
    keys = keys_of(len(rows))
    clusters = np.array([row[0] for row in rows])
    scores = np.array([row[1] for row in rows], np.float32)
    twins = np.array([row[2] for row in rows], object)
    together = by_score(keys, clusters, scores, ratio, seed=1, balance=balance, duplicate_of=twins)
    blocks, where = [], []
    groups = list(range(num_groups))
    random.shuffle(groups)
    for group in groups:
        here = np.flatnonzero(clusters % num_groups == group)
        if len(here):
            own = [keys[row] for row in here]
            standing = stand(own, clusters[here], seed=1, score=scores[here], duplicate_of=twins[here])
            blocks.append((clusters[here], standing))
            where.append(here)
    sizes = sum(tier_sizes(ids, standing.tier, 7) for ids, standing in blocks)
    counts = count_kept(sizes, ratio, balance=balance, blocks=lambda: blocks)
    kept = np.zeros(len(keys), bool)
    for here, (ids, standing) in zip(where, blocks, strict=True):
        kept[here] = is_kept(ids, standing.tier, standing.place, counts)
    assert kept.tolist() == together.tolist()
    assert kept.sum() == counts.sum() == min(keep_budget(len(keys), ratio), (twins == "").sum())


@settings(max_examples=100)
@given(samples, ratios, st.sampled_from([0, 0.5, 1.0]), st.sets(st.integers(0, 59)))
def test_understudies_follow_the_kept_without_gap(rows, ratio, balance, filtered):
    keys = keys_of(len(rows))
    clusters = np.array([row[0] for row in rows])
    scores = np.array([row[1] for row in rows], np.float32)
    twins = np.array([row[2] for row in rows], object)
    passed = np.array([row not in filtered for row in range(len(rows))])
    twins[~passed] = ""
    standing = stand(keys, clusters, seed=1, score=scores, passed=passed, duplicate_of=twins)
    sizes = tier_sizes(clusters, standing.tier, 7)
    counts = count_kept(sizes, ratio, balance=balance, blocks=lambda: [(clusters, standing)])
    kept = is_kept(clusters, standing.tier, standing.place, counts)
    rank = understudies(clusters, standing.tier, standing.place, sizes, counts)
    priority = draw_priority(keys, 1)
    for cluster in range(7):
        members = np.flatnonzero((clusters == cluster) & ~kept)
        # Scored before unscored before filtered before near duplicates; then by score, unscored last; then by the draw.
        naive = sorted(
            members,
            key=lambda i: (
                *(twins[i] != "", not passed[i], np.isnan(scores[i])),
                *(0 if np.isnan(scores[i]) else -scores[i], priority[i]),
            ),
        )
        assert [rank[i] for i in naive] == list(range(1, len(naive) + 1))
    assert (rank[kept] == 0).all()
    assert kept.sum() == min(keep_budget(len(keys), ratio), (passed & (twins == "")).sum())
    assert not (kept & ~passed).any()
    tiers = np.select([twins != "", ~passed, np.isnan(scores)], [TWIN, FILTERED, UNSCORED], SCORED)
    assert standing.tier.tolist() == tiers.tolist()


def test_places_by_hand():
    # Cluster 0: b (0.9) before a (0.2), d is a twin, e is not scored. Cluster 1: c alone.
    standing = stand(
        list("abcde"),
        np.array([0, 0, 1, 0, 0]),
        seed=0,
        score=np.array([0.2, 0.9, 0.5, 0.99, NAN]),
        duplicate_of=["", "", "", "b", ""],
    )
    assert standing.tier.tolist() == [SCORED, SCORED, SCORED, TWIN, UNSCORED]
    assert standing.place.tolist() == [1, 0, 0, 0, 0]
    sizes = tier_sizes(np.array([0, 0, 1, 0, 0]), standing.tier, 3)
    assert sizes.tolist() == [[2, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_equal_hashes_at_the_cut_go_to_the_lower_cluster():
    clusters = np.array([2, 0, 1])
    same = np.zeros(3, np.uint32), np.full(3, 7, np.uint64)
    standing = Standing(np.zeros(3, np.int8), np.zeros(3, np.int64), *same)
    sizes = tier_sizes(clusters, standing.tier, 3)
    counts = count_kept(sizes, 2 / 3, balance=0, blocks=lambda: [(clusters, standing)])
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
