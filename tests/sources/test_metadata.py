"""What a source tells of an image beside its caption: url, sha256 and sizes, as img2dataset writes them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lavis_tldr.sources import LavisJsonSource, ParquetSource, WebDatasetSource
from lavis_tldr.sources.record import METADATA, metadata_of

TOLD = {"url": "http://x/é", "sha256": "ab12", "width": 8, "height": 4, "original_width": 80, "original_height": 2**31}
KEPT = TOLD | {"original_height": None}  # what 32 bits can't hold is no size


def told(source, images=True):
    records = [record for part in source.parts for record in source.read(part, images=images)]
    return [{name: getattr(record, name) for name in METADATA} for record in records]


def test_names_and_types():
    texts, sizes = ("url", "sha256"), ("width", "height", "original_width", "original_height")
    assert {**dict.fromkeys(texts, pa.string()), **dict.fromkeys(sizes, pa.int32())} == METADATA


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        (TOLD, {name: value for name, value in TOLD.items() if name != "original_height"}),
        ({"url": None, "width": None}, {}),
        ({"url": 7, "sha256": ["x"], "width": "8", "height": 4.0, "original_width": True}, {}),
        ({"url": " \x00http://x\ud800\n", "sha256": ""}, {"url": "http://x?"}),
        ({"width": 0, "height": -1, "original_width": 2**31 - 1}, {"width": 0, "original_width": 2**31 - 1}),
        ({"caption": "x", "key": "0", "error": "no", "image": "y"}, {}),
    ],
)
def test_what_is_taken(fields, expected):
    assert metadata_of(fields) == expected


@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize("text", [True, False])
def test_of_tars(make_tar, encoded, text, images):
    members = [("0.jpg", encoded()), ("0.json", json.dumps(TOLD | {"caption": "x"}).encode())]
    members += [("1.jpg", encoded()), ("1.json", b"no json"), ("2.jpg", encoded()), ("2.json", b"[1]")]
    members += [(f"{i}.txt", b"x") for i in range(3)] if text else []
    assert told(WebDatasetSource(make_tar("a.tar", sorted(members))), images) == [KEPT, *[dict.fromkeys(METADATA)] * 2]


def test_of_tables(tmp_path, encoded):
    (tmp_path / "a.jpg").write_bytes(encoded())
    rows = [TOLD, dict.fromkeys(TOLD), {"url": "", "width": 1}]
    kinds = [(name, pa.int64() if isinstance(value, int) else pa.string()) for name, value in TOLD.items()]
    columns = pa.schema([("image", pa.string()), ("caption", pa.string()), *kinds])
    pq.write_table(
        pa.Table.from_pylist([{"image": "a.jpg", "caption": "x", **row} for row in rows], columns), tmp_path / "t"
    )
    nothing = dict.fromkeys(METADATA)
    assert told(ParquetSource(str(tmp_path / "t"), str(tmp_path))) == [KEPT, nothing, nothing | {"width": 1}]


def test_of_tables_with_other_types(tmp_path, encoded):
    columns = {"jpg": [encoded()], "caption": ["x"], "width": [8.0], "url": [7], "sha256": [b"\xff"], "height": ["4"]}
    pq.write_table(pa.table(columns), tmp_path / "t")
    assert told(ParquetSource(str(tmp_path / "t"))) == [dict.fromkeys(METADATA)]
    table = pa.table(columns).append_column("height", pa.array([4]))  # whose height is it?
    pq.write_table(table, tmp_path / "t")
    assert told(ParquetSource(str(tmp_path / "t"))) == [dict.fromkeys(METADATA)]


def test_of_annotations(tmp_path, encoded):
    (tmp_path / "a.jpg").write_bytes(encoded())
    entries = [
        {"image": "a.jpg", "caption": ["x", "y"], **TOLD},
        {"image": "b.jpg", "caption": "x", "width": "8", "height": {}},
        "no entry",
    ]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    source = LavisJsonSource(str(tmp_path / "a.json"), str(tmp_path))
    assert told(source) == [KEPT, KEPT, dict.fromkeys(METADATA), dict.fromkeys(METADATA)]
