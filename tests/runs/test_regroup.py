import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lavis_tldr.runs.regroup import plan_groups, read_bin, read_bins, write_bins


def test_groups_by_hand():
    assert plan_groups(np.array([3, 2, 5, 0, 1, 9, 1]), 5).tolist() == [0, 0, 1, 1, 2, 3, 4]
    assert plan_groups(np.array([7]), 5).tolist() == [0]
    assert plan_groups(np.array([0, 0]), 5).tolist() == [0, 0]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 12))
def test_groups_are_neighbours_and_small_enough(sizes, max_rows):
    groups = plan_groups(np.array(sizes), max_rows)
    assert groups[0] == 0 and set(np.diff(groups)) <= {0, 1}
    for group in range(groups[-1] + 1):
        members = [size for size, own in zip(sizes, groups, strict=True) if own == group]
        assert sum(members) <= max_rows or sum(size > 0 for size in members) == 1


def test_bins_come_back_in_the_order_of_their_rows(tmp_path):
    table = pa.table({"key": list("abcdef"), "value": pa.array(range(6), pa.int32()), "codes": [[i] for i in range(6)]})
    write_bins(table, np.array([1, 0, 3, 1, 0, 1]), 4, tmp_path / "one.arrow")
    write_bins(table.slice(0, 1), np.array([1]), 4, tmp_path / "two.arrow")
    write_bins(table.slice(0, 0), np.array([], int), 4, tmp_path / "none.arrow")
    paths = [tmp_path / f"{name}.arrow" for name in ("one", "two", "none")]
    assert read_bin(paths, 1)["key"].to_pylist() == ["a", "d", "f", "a"]
    assert read_bin(paths, 1, ["codes", "key"]).to_pylist()[1] == {"codes": [3], "key": "d"}
    assert read_bin(paths, 2).num_rows == 0
    assert read_bin(paths, 2).schema == table.schema
    assert read_bins(paths[0], ["value"])["value"].to_pylist() == [1, 4, 0, 3, 5, 2]


def test_the_same_rows_give_the_same_bytes(tmp_path):
    table = pa.table({"key": list("abc")})
    write_bins(table, np.array([1, 0, 1]), 2, tmp_path / "one.arrow")
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    write_bins(chunked, np.array([1, 0, 1]), 2, tmp_path / "two.arrow")
    assert (tmp_path / "one.arrow").read_bytes() == (tmp_path / "two.arrow").read_bytes()
