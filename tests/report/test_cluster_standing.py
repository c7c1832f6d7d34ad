"""Ranks in a cluster, against what is counted by hand and by a naive oracle."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_folders import BEST, HOSTILE

from lavis_tldr.reduction.selection import select_aligned, select_uniform
from lavis_tldr.report.cluster_standing import cluster_standing, count_kept


def row_of(key):
    cluster, distance, alignment, *_ = BEST[key]
    return {"key": key, "cluster": cluster, "distance": np.float32(distance), "alignment": np.float32(alignment)}


@pytest.mark.parametrize("table", ["ledger", "select"])
def test_by_hand(run, table):
    # Cluster 0, nearest first: 2, 4, 3, 10002, 1. Best first, without 4 which repeats 1: 1, 2, 3, 10002.
    paths = sorted((run / "best" / table).glob("*.parquet"))
    standing = cluster_standing(paths, row_of("000010002"))
    assert standing == {
        "size": 5,
        "kept": 2,
        "distance_rank": 4,
        "alignment_rank": 4,
        "num_ranked": 4,
        "num_repeats": 1,
        "lowest_kept": pytest.approx(0.4),
    }
    # A near duplicate is ranked as if it stayed: after 1, before 2, 3 and 10002.
    of_twin = cluster_standing(paths, row_of("000000004"))
    assert (of_twin["alignment_rank"], of_twin["num_ranked"], of_twin["num_repeats"]) == (2, 5, 0)
    assert cluster_standing(paths, row_of(HOSTILE))["alignment_rank"] == 1  # a tie
    assert count_kept(paths, 0) == 2
    assert count_kept(paths, 7) == 0


def test_clusters_alone_tell_size_and_distance(run):
    paths = sorted((run / "cluster/index-2").glob("*.parquet"))
    row = {"key": "000000001", "cluster": 0, "distance": np.float32(0.5)}
    assert cluster_standing(paths, row) == {"size": 5, "distance_rank": 5}


def write_ledger(folder, columns, num_parts=3):
    table = pa.table(columns)
    bounds = np.linspace(0, table.num_rows, num_parts + 1).astype(int)
    paths = []
    for i, (start, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        paths.append(folder / f"{i}.parquet")
        pq.write_table(table.slice(start, end - start), paths[-1], row_group_size=7)
    return paths


@pytest.mark.parametrize("selection", ["aligned", "uniform"])
def test_against_a_naive_oracle(tmp_path, selection):
    rng = np.random.default_rng(3)
    keys = [f"{i:03}" for i in range(60)]
    clusters = rng.integers(0, 4, 60).astype(np.int32)
    distance = rng.integers(0, 9, 60).astype(np.float32)  # with ties
    alignment = np.where(rng.random(60) < 0.2, np.nan, rng.integers(0, 9, 60)).astype(np.float32)
    twins = np.where(rng.random(60) < 0.2, "000", "")
    if selection == "aligned":
        kept = select_aligned(keys, clusters, alignment, 0.4, seed=5, duplicate_of=twins.tolist())
    else:
        kept = select_uniform(keys, clusters, 0.4, seed=5)
    reason = [
        "kept" if k else f"dropped: near duplicate of {t}" if t else "x" for k, t in zip(kept, twins, strict=True)
    ]
    columns = {"key": keys, "cluster": clusters, "distance": distance, "alignment": alignment, "kept": kept}
    paths = write_ledger(tmp_path, columns | {"reason": reason})
    for i, key in enumerate(keys):
        row = {"key": key, "cluster": clusters[i], "distance": distance[i], "alignment": alignment[i]}
        found = cluster_standing(paths, row, 5)
        mates = [j for j in range(60) if clusters[j] == clusters[i]]
        assert found["size"] == len(mates)
        assert found["kept"] == count_kept(paths, clusters[i]) == sum(kept[j] for j in mates)
        assert found["distance_rank"] == 1 + sum(distance[j] < distance[i] for j in mates)
        assert 1 <= found["draw_rank"] <= len(mates)
        if selection == "uniform":  # the number in the draw is what decided
            assert kept[i] == (found["draw_rank"] <= found["kept"])
        if np.isnan(alignment[i]):
            assert "alignment_rank" not in found
            continue
        ranked = [j for j in mates if not np.isnan(alignment[j]) and (j == i or not reason[j].startswith("dropped: n"))]
        assert found["num_ranked"] == len(ranked)
        assert found["alignment_rank"] == 1 + sum(alignment[j] > alignment[i] for j in ranked)
        kept_scores = [alignment[j] for j in ranked if kept[j]]
        assert found["lowest_kept"] == (min(kept_scores) if kept_scores else None)
