"""Ranks in a cluster, against what is counted by hand and by a naive oracle."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_folders import BEST, HOSTILE
from selecting import select

from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.report.cluster_standing import cluster_standing, count_kept, draw_standing


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
        "num_filtered": 0,
        "num_repeats": 1,
        "distance_rank": 4,
        "alignment": {"rank": 4, "of": 4, "lowest_kept": pytest.approx(0.4)},
    }
    # A near duplicate is ranked as if it stayed: after 1, before 2, 3 and 10002.
    of_twin = cluster_standing(paths, row_of("000000004"))
    assert (of_twin["alignment"]["rank"], of_twin["alignment"]["of"], of_twin["num_repeats"]) == (2, 5, 0)
    assert cluster_standing(paths, row_of(HOSTILE))["alignment"]["rank"] == 1  # a tie
    assert count_kept(paths, 0) == 2
    assert count_kept(paths, 7) == 0


def test_clusters_alone_tell_size_and_distance(run):
    paths = sorted((run / "cluster/index-2").glob("*.parquet"))
    row = {"key": "000000001", "cluster": 0, "distance": np.float32(0.5)}
    assert cluster_standing(paths, row) == {"size": 5, "distance_rank": 5}


def write_parts(folder, columns, num_parts=3):
    folder.mkdir()
    table = pa.table(columns)
    bounds = np.linspace(0, table.num_rows, num_parts + 1).astype(int)
    paths = []
    for i, (start, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        paths.append(folder / f"{i}.parquet")
        pq.write_table(table.slice(start, end - start), paths[-1], row_group_size=7)
    return paths


@pytest.mark.parametrize("selection", ["easy_sample", "uniform", "random"])
def test_against_a_naive_oracle(tmp_path, selection):
    rng = np.random.default_rng(3)
    keys = [f"{i:03}" for i in range(60)]
    clusters = rng.integers(0, 4, 60).astype(np.int32)
    distance = rng.integers(0, 9, 60).astype(np.float32)  # with ties
    alignment = np.where(rng.random(60) < 0.2, np.nan, rng.integers(0, 9, 60)).astype(np.float32)
    filtered = rng.random(60) < 0.2
    twins = np.where((rng.random(60) < 0.2) & ~filtered, "000", "")
    score = -distance if selection == "easy_sample" else np.full(60, np.nan, np.float32)
    options = {"seed": 5, "score": score, "passed": ~filtered, "duplicate_of": twins.tolist()}
    kept = select(keys, clusters, 0.4, **options, balance=0.0 if selection == "random" else 1.0)
    columns = {"key": keys, "cluster": clusters, "distance": distance, "alignment": alignment, "score": score}
    columns |= {"prototype_distance": distance, "kept": kept}
    of_select = write_parts(tmp_path / "select", columns | {"filtered": filtered, "duplicate_of": twins})
    reason = np.where(kept, "kept", np.where(filtered, "dropped: filtered: small gradient", "dropped: x"))
    reason = np.where(twins != "", "dropped: near duplicate of 000", reason)
    of_ledger = write_parts(tmp_path / "ledger", columns | {"reason": reason})
    for i in range(60):
        row = {name: values[i] for name, values in columns.items()}
        found = cluster_standing(of_ledger, row, "easy_sample")
        assert cluster_standing(of_select, row, "easy_sample") == found
        mates = [j for j in range(60) if clusters[j] == clusters[i]]
        assert found["size"] == len(mates)
        assert found["kept"] == count_kept(of_ledger, clusters[i]) == sum(kept[j] for j in mates)
        assert found["num_filtered"] == sum(filtered[j] for j in mates if j != i)
        assert found["num_repeats"] == sum(twins[j] != "" for j in mates if j != i)
        assert found["distance_rank"] == 1 + sum(distance[j] < distance[i] for j in mates)
        assert found["filter"] == {"rank": found["distance_rank"], "of": len(mates)}
        standing_in = [j for j in mates if j == i or not (filtered[j] or twins[j])]
        for name, values in (("alignment", alignment), ("score", score)):
            ranked = [j for j in standing_in if not np.isnan(values[j])]
            expected = {
                "rank": 1 + sum(values[j] > values[i] for j in ranked),
                "of": len(ranked),
                "lowest_kept": min((values[j] for j in ranked if kept[j]), default=None),
            }
            assert found.get(name) == (None if np.isnan(values[i]) else expected)
        if selection != "easy_sample" and not filtered[i] and not twins[i]:
            uniform = selection == "uniform"
            drawn = draw_standing(of_ledger, row, 5, in_cluster=uniform)
            assert draw_standing(of_select, row, 5, in_cluster=uniform) == drawn
            among = standing_in if uniform else [j for j in range(60) if not (filtered[j] or twins[j])]
            assert drawn["of"] == len(among) and drawn["kept"] == sum(kept[j] for j in among)
            priority = draw_priority([keys[j] for j in among], 5)
            assert drawn["rank"] == 1 + sum(priority < priority[among.index(i)])
            assert kept[i] == (drawn["rank"] <= drawn["kept"])  # the number in the draw is what decided
