import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lavis_tldr.runs.parts import missing_columns, read_part
from lavis_tldr.runs.stages import Column, StageSpec

SPEC = StageSpec(
    "toy",
    "Toys.",
    shared=True,
    columns=(
        Column("key", pa.string(), "The key."),
        Column("added", pa.int32(), "Added later.", since="2.0"),
        Column("size", pa.int64(), "The size."),
    ),
)


def write(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_columns_of_today_come_in_the_order_asked_for(tmp_path):
    path = write(tmp_path / "a.parquet", key=["a", "b"], added=pa.array([1, 2], pa.int32()), size=[3, 4])
    assert read_part(path, SPEC).to_pydict() == {"key": ["a", "b"], "added": [1, 2], "size": [3, 4]}
    assert read_part(path, SPEC, ["size", "key"]).column_names == ["size", "key"]
    assert missing_columns(path, SPEC) == []


def test_what_was_not_written_yet_is_null(tmp_path):
    path = write(tmp_path / "a.parquet", key=["a", "b"], size=[3, 4])
    table = read_part(path, SPEC, filters=pc.field("size") > 3)
    assert table.schema.names == ["key", "added", "size"]
    assert table.to_pylist() == [{"key": "b", "added": None, "size": 4}]
    assert table["added"].type == pa.int32()
    assert missing_columns(path, SPEC) == []


def test_columns_that_every_version_wrote_are_missed(tmp_path):
    assert missing_columns(write(tmp_path / "a.parquet", key=["a"]), SPEC) == ["size"]
