"""Parquet tables of image paths and captions, img2dataset's own and others."""

import json
import os
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lavis_tldr.sources import ParquetSource, build_source
from lavis_tldr.sources.record import ImageLocation

STRINGS = ("url", "caption", "key", "status", "error_message", "exif", "sha256")
NUMBERS = ("width", "height", "original_width", "original_height")


@pytest.fixture
def pool(tmp_path, encoded):
    """Two shards as img2dataset leaves them with ``output_format: files``, one image each not downloaded."""
    folder = tmp_path / "pool"
    for shard, colour in (("00000", "red"), ("00001", "blue")):
        (folder / shard).mkdir(parents=True)
        rows = []
        for i, failure in enumerate(("", "HTTP Error 404: Not Found", "")):
            key = f"{shard}{i:04d}"
            row = dict.fromkeys(STRINGS + NUMBERS) | {"url": f"http://x/{i}", "caption": f"{colour} {i}", "key": key}
            if failure:
                row |= {"status": "failed_to_download", "error_message": failure}
            else:
                row |= {"status": "success", "width": 8, "height": 4, "exif": "{}"}
                (folder / shard / f"{key}.jpg").write_bytes(encoded(colour))
                (folder / shard / f"{key}.txt").write_text(row["caption"])
            rows.append(row)
        fields = [(name, pa.string()) for name in STRINGS] + [(name, pa.int32()) for name in NUMBERS]
        pq.write_table(pa.Table.from_pylist(rows, pa.schema(fields)), folder / f"{shard}.parquet")
        (folder / f"{shard}_stats.json").write_text("{}")
    return folder


@pytest.fixture
def source_of(tmp_path, encoded):
    """A source of one table with these columns; ``images/`` holds a.jpg, b.jpg and sub/c.jpg."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        (folder / name).write_bytes(encoded())
    (tmp_path / "outside.jpg").write_bytes(encoded())

    def build(columns: dict, **options) -> ParquetSource:
        path = tmp_path / "t.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=options.pop("row_group_size", None))
        return ParquetSource(str(path), str(folder), **options)

    return build


def records_of(source, images=True):
    return [record for part in source.parts for record in source.read(part, images=images)]


def facts(source):
    return [(record.key, record.caption, record.error) for record in records_of(source)]


def test_img2datasets_tables(pool, encoded):
    source = build_source({"format": "parquet", "tables": str(pool / "*.parquet"), "image_root": str(pool)})
    assert [part.name for part in source.parts] == ["00000", "00001"]
    lost = "not downloaded: HTTP Error 404: Not Found"
    assert facts(source) == [
        ("000000000", "red 0", ""),
        ("000000001", "red 1", lost),
        ("000000002", "red 2", ""),
        ("000010000", "blue 0", ""),
        ("000010001", "blue 1", lost),
        ("000010002", "blue 2", ""),
    ]
    first, second = records_of(source)[:2]
    assert first.image == encoded("red") and first.image_key == "000000000"
    assert first.location == ImageLocation(str(pool / "00000" / "000000000.jpg"))
    assert second.image is None and second.location is None
    described = json.loads(json.dumps(source.describe()))
    assert described["image"] == "{table}/{key}.jpg" and described["key"] == "key" and described["num_parts"] == 2


def test_without_images_the_records_are_the_same(pool, monkeypatch):
    os.remove(pool / "00001" / "000010002.jpg")
    source = ParquetSource(str(pool / "*.parquet"), str(pool))
    full = records_of(source)
    monkeypatch.setattr("builtins.open", None)
    light = records_of(source, images=False)
    assert light == [replace(record, image=None) for record in full]
    assert full[-1].error == "missing image"


def test_tables_beside_tars_are_told_apart(pool):
    """img2dataset's default, ``output_format: webdataset``: the same tables, and tars for the folders."""
    for shard in ("00000", "00001"):
        for path in (pool / shard).iterdir():
            path.unlink()
        (pool / shard).rmdir()
        (pool / f"{shard}.tar").write_bytes(bytes(1024))
    with pytest.raises(ValueError, match=r"None of the first 2 images of .*00000\.parquet .*00000\.tar lies beside it"):
        ParquetSource(str(pool / "*.parquet"), str(pool))
    (pool / "00000").mkdir()
    (pool / "00000" / "000000002.jpg").write_bytes(b"x")
    assert len(ParquetSource(str(pool / "*.parquet"), str(pool)).parts) == 2  # some are there


@pytest.mark.parametrize("column", ["image_path", "image", "path", "file_name"])
def test_usual_columns_of_paths(source_of, column):
    source = source_of({"text": ["x", "y"], column: ["a.jpg", "sub/c.jpg"]}, caption="text")
    assert facts(source) == [("a.jpg", "x", ""), ("sub/c.jpg", "y", "")]
    assert source.describe()["image"] == f"{{{column}}}" and source.describe()["key"] is None


def test_columns_and_patterns_can_be_named(source_of):
    columns = {"folder": ["sub", "."], "id": [7, 8], "name": ["c", "b"], "alt": ["x", "y"], "path": ["no", "no"]}
    source = source_of(columns, image="{folder}/{name}.jpg", caption="alt", key="id")
    assert facts(source) == [("7", "x", ""), ("8", "y", "")]
    assert facts(source_of(columns, image="{table}/{id}.jpg", caption="alt")) == [
        ("t/7.jpg", "x", "missing image"),
        ("t/8.jpg", "y", "missing image"),
    ]


def test_lists_of_captions_are_numbered(source_of):
    captions = pa.array([["one", " two"], ["only"], [], None, ["x", None]])
    images = ["a.jpg", "b.jpg", "sub/c.jpg", "a.jpg", "./b.jpg"]
    source = source_of({"image": images, "caption": captions})
    assert facts(source) == [
        ("a.jpg#0", "one", ""),
        ("a.jpg#1", "two", ""),
        ("b.jpg", "only", ""),
        ("sub/c.jpg", "", "missing caption"),
        ("a.jpg", "", "missing caption"),
        ("./b.jpg#0", "x", ""),
        ("./b.jpg#1", "", "missing caption"),
    ]
    assert [record.image_key for record in records_of(source)][:3] == ["a.jpg", "a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())], ids=["large", "bytes", "category"]
)
def test_text_in_any_clothes(source_of, kind):
    column = pa.array(["é x", None]).cast(kind)
    source = source_of({"image": pa.array(["a.jpg", "b.jpg"]).cast(kind), "caption": column})
    assert facts(source) == [("a.jpg", "é x", ""), ("b.jpg", "", "missing caption")]


def test_odd_values_are_named_not_dropped(source_of):
    columns = {
        "key": ["0", "1", None, "3", "4", "", "6", "7", "0"],
        "image": ["a.jpg", None, "a.jpg", "", "../outside.jpg", "a.jpg", "/etc/passwd", "sub", "b.jpg"],
        "caption": ["x", "x", "x", "x", "x", "x", "x", " \x00", None],
    }
    assert facts(source_of(columns)) == [
        ("0", "x", ""),
        ("1", "x", "missing image"),
        ("t[2]", "x", "missing key"),
        ("3", "x", "missing image"),
        ("4", "x", "image path leaves the image root"),
        ("t[5]", "x", "missing key"),
        ("6", "x", "image path leaves the image root"),
        ("7", "", "missing image"),
        ("0~2", "", "missing caption"),
    ]


def test_columns_of_other_types(source_of):
    columns = {"key": [1.0, None], "image": ["a.jpg", "b.jpg"], "caption": [[1], None]}
    assert [error for *_, error in facts(source_of(columns))] == ["missing key: of type double", "missing key"]
    listed, absent = facts(source_of(columns, key="image"))
    assert listed[2].startswith("missing caption: of type list<") and absent == ("b.jpg", "", "missing caption")
    moments = pa.array([2**62, 1], pa.timestamp("ms"))  # the first is beyond what Python can say
    assert facts(source_of({"image": moments, "caption": ["x", "y"]})) == [
        ("t[0]", "x", "missing image: of type timestamp[ms]"),
        ("t[1]", "y", "missing image: of type timestamp[ms]"),
    ]


def test_a_doubled_key_is_named(source_of):
    columns = {"image": ["a.jpg", "a.jpg", "b.jpg"], "caption": ["one", "two", "three"]}
    assert facts(source_of(columns)) == [
        ("a.jpg", "one", ""),
        ("a.jpg~2", "two", "doubled key: a.jpg came before in this part"),
        ("b.jpg", "three", ""),
    ]


def test_status_without_reason_and_without_success(source_of):
    columns = {"image": ["a.jpg"] * 3, "caption": ["x", "y", "z"], "status": ["failed_to_resize", None, "success"]}
    assert [error for *_, error in facts(source_of(columns, key="caption"))] == [
        "not downloaded: failed_to_resize",
        "",
        "",
    ]
    columns["error_message"] = ["two\nlines " + "x" * 300, None, None]
    (_, _, error), *_ = facts(source_of(columns, key="caption"))
    assert error == "not downloaded: two lines " + "x" * 190


def test_text_that_is_no_utf8(source_of):
    offsets, data = pa.py_buffer(bytes([0, 0, 0, 0, 3, 0, 0, 0])), pa.py_buffer(b"a\xffb")
    bad = pa.Array.from_buffers(pa.string(), 1, [None, offsets, data])
    assert facts(source_of({"image": bad, "caption": bad})) == [("a\\udcffb", "a\ufffdb", "missing image")]


@pytest.mark.parametrize("row_group_size", [1, 3, 4, 100, 1000])
def test_slices_of_a_long_table(source_of, row_group_size):
    columns = {"key": [str(i) for i in range(700)], "image": ["a.jpg"] * 700, "caption": ["x"] * 700}
    source = source_of(columns, part_size=300, row_group_size=row_group_size)
    assert [part.name for part in source.parts] == ["t-00000", "t-00001", "t-00002"]
    last = [record.key for record in source.read(source.parts[2], images=False)]
    assert last == columns["key"][600:]
    assert [record.key for record in records_of(source, images=False)] == columns["key"]


def test_a_row_without_key_is_named_by_its_place_in_the_table(source_of):
    columns = {"key": ["0", "1", "2", None], "image": ["a.jpg"] * 4, "caption": ["x"] * 4}
    assert facts(source_of(columns, part_size=2))[3] == ("t-00001[3]", "x", "missing key")


def test_part_names_stay_distinct(tmp_path, source_of):
    columns = {"image": ["a.jpg"] * 3, "caption": ["x"] * 3}
    source_of(columns)
    for name in ("x/t", "y/t", "x/u", "y/u-00000", "x/00000_t"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        rows = 1 if name.endswith("00000") else 3
        pq.write_table(pa.table(columns).slice(0, rows), tmp_path / f"{name}.parquet")
    whole = ParquetSource(str(tmp_path / "?" / "*.parquet"), str(tmp_path))
    assert [part.name for part in whole.parts] == ["00000_t", "00001_t", "u", "00003_t", "u-00000"]
    sliced = ParquetSource(str(tmp_path / "?" / "u*.parquet"), str(tmp_path), part_size=2)
    assert [part.name for part in sliced.parts] == ["00000_u-00000", "u-00001", "00002_u-00000"]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (
            {"url": ["x"], "caption": ["x"]},
            {},
            r"has the columns url, caption; expected one of image_path, image, path",
        ),
        ({"image": ["x"], "text": ["x"]}, {}, r"has the columns image, text, and 'caption' not among them"),
        ({"image": ["x"], "caption": ["x"]}, {"image": "{folder}/{image}"}, r"'folder' not among them"),
        ({"image": ["x"], "caption": ["x"]}, {"image": "pictures"}, r"'pictures' not among them"),
        ({"image": ["x"], "caption": ["x"]}, {"key": "id"}, r"'id' not among them"),
        ({"image": ["x"], "caption": ["x"]}, {"part_size": 0}, "part_size is 0"),
        ({"image": pa.array([], pa.string()), "caption": pa.array([], pa.string())}, {}, "tables have no rows"),
    ],
)
def test_tables_that_lack_something(source_of, columns, options, message):
    with pytest.raises(ValueError, match=message):
        source_of(columns, **options)


def test_a_later_table_with_other_columns(tmp_path, pool):
    pq.write_table(pa.table({"key": ["x"]}), pool / "00002.parquet")
    with pytest.raises(ValueError, match=r"00002\.parquet has the columns key, and 'caption' not among them"):
        ParquetSource(str(pool / "*.parquet"), str(pool))


@pytest.mark.parametrize("content", [b"", b"key,caption\n0,x\n" * 20, b"PAR1" + bytes(100) + b"PAR1"])
def test_files_that_are_no_parquet(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.parquet can't be read as Parquet \(.*\)\. Give whole Parquet tables"):
        ParquetSource(str(tmp_path / "a.parquet"), str(tmp_path))


def test_a_table_that_breaks_off_gives_what_it_has(tmp_path, source_of):
    columns = {"key": [f"{i:04d}" for i in range(1000)], "image": ["a.jpg"] * 1000, "caption": ["word " * 20] * 1000}
    source = source_of(columns, row_group_size=500)
    path = tmp_path / "t.parquet"
    content = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(bytes(content))
    records = records_of(source, images=False)
    assert [record.key for record in records[:-1]] == columns["key"][: len(records) - 1]
    assert len(records) == 501
    assert records[-1].key == "t~damaged" and records[-1].error.startswith("damaged table: ")


def test_digests(pool):
    def digests():
        source = ParquetSource(str(pool / "*.parquet"), str(pool), part_size=2)
        return [source.digest(part) for part in source.parts]

    before = digests()
    assert len(set(before)) == 4 and digests() == before
    (pool / "00001" / "000010002.jpg").write_bytes(b"another")
    after = digests()
    assert after[:3] == before[:3] and after[3] != before[3]
    table = pq.read_table(pool / "00000.parquet")
    pq.write_table(table.set_column(1, "caption", pa.array(["a", "b", "c"])), pool / "00000.parquet")
    changed = digests()
    assert changed[0] != after[0] and changed[1] != after[1] and changed[2:] == after[2:]


def test_a_table_that_changes_is_noticed(pool):
    source = ParquetSource(str(pool / "*.parquet"), str(pool))
    os.utime(pool / "00001.parquet", (1, 1))
    source.check_unchanged(source.parts[0])
    with pytest.raises(ValueError, match=r"00001\.parquet has changed since this run began"):
        source.check_unchanged(source.parts[1])
