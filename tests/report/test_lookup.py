"""A key is found by statistics where that can be, and by reading where not."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lavis_tldr.report import lookup
from lavis_tldr.report.lookup import closest_keys, find_key, keys_with_prefix


def write_parts(folder, parts, row_group_size=3, **options):
    paths = []
    for i, keys in enumerate(parts):
        paths.append(folder / f"{i}.parquet")
        table = pa.table(
            {"codes": [[1, 2]] * len(keys), "key": pa.array(keys, pa.string()), "row": list(range(len(keys)))}
        )
        pq.write_table(table, paths[-1], row_group_size=row_group_size, **options)
    return paths


@pytest.fixture
def sorted_parts(tmp_path):
    return write_parts(tmp_path, [[f"{part}{i:03}" for i in range(10)] for part in range(4)])


def test_every_key_is_found_and_reads_its_own_row(sorted_parts):
    for part in range(4):
        for i in range(10):
            place = find_key(sorted_parts, f"{part}{i:03}")
            assert place.path == sorted_parts[part]
            assert place.read(["key", "row", "absent"]) == {"key": f"{part}{i:03}", "row": i}


@pytest.mark.parametrize("key", ["", "0", "1", "10005", "2010", "9999", "0001\0", "é"])
def test_unknown_keys_are_not(sorted_parts, key):
    assert find_key(sorted_parts, key) is None


def test_keys_in_no_order_and_without_statistics(tmp_path):
    keys = [f"{i:05}#\u202e🚀é"[:: -1 if i % 2 else 1] for i in range(50)]
    random.Random(0).shuffle(keys)
    paths = write_parts(tmp_path, [keys[:20], keys[20:20], keys[20:]], write_statistics=False)
    for i, key in enumerate(keys):
        place = find_key(paths, key)
        assert (place.path, place.read(["row"])["row"]) == ((paths[0], i) if i < 20 else (paths[2], i - 20))


def test_one_row_group_is_read_where_keys_are_sorted(sorted_parts, monkeypatch):
    read = []
    whole = lookup.pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        lookup.pq.ParquetFile,
        "read_row_group",
        lambda self, group, **kw: read.append(group) or whole(self, group, **kw),
    )
    assert find_key(sorted_parts, "2007") is not None
    assert read == [2]  # rows 6 to 8
    assert find_key(sorted_parts, "20075") is None
    assert read == [2, 2]


def test_prefix(tmp_path):
    paths = write_parts(tmp_path, [["a.jpg#0", "a.jpg#1", "b.jpg"], ["a.jpg#10", "a.jpgx"]])
    assert keys_with_prefix(paths, "a.jpg#", 5) == ["a.jpg#0", "a.jpg#1", "a.jpg#10"]
    assert keys_with_prefix(paths, "a.jpg#", 2) == ["a.jpg#0", "a.jpg#1"]
    assert keys_with_prefix(paths, "c", 5) == []


def test_closest_begin_most_alike(sorted_parts):
    # The row groups end with 1002, 1005, 1008 and 1009, all with three characters in common.
    assert closest_keys(sorted_parts, "100x") == ["1002", "1005", "1008"]
    assert closest_keys(sorted_parts, "10045")[0] == "1004"
    assert closest_keys(sorted_parts, "xyz") == []
    assert len(closest_keys(sorted_parts, "1")) == 3


def test_what_is_no_part_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(ValueError, match="a.parquet is no Parquet file.*inspect RUN --verify"):
        find_key([tmp_path / "a.parquet"], "x")
    pq.write_table(pa.table({"other": [1]}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b.parquet has no column key, only \['other'\]"):
        find_key([tmp_path / "b.parquet"], "x")
