"""What the source told beside the captions (url, sizes, ...) goes out with a set, where the ledger has it."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from datasets import load_dataset
from ledgers import files_in, tar_run

from lavis_tldr.exports.export import export_set
from lavis_tldr.exports.formats import FORMATS
from lavis_tldr.keep_list import KeepList
from lavis_tldr.sources import build_source
from lavis_tldr.sources.record import METADATA

TOLD = {"000": {"url": "http://x/0", "width": 8}, "001": {"sha256": "ff"}, "011": {"width": 9}}
EXPECTED = [
    ("000", {"url": "http://x/0", "sha256": None, "width": 8}),
    ("002", {"url": None, "sha256": None, "width": None}),
    ("003", {"url": None, "sha256": None, "width": None}),
    ("011", {"url": None, "sha256": None, "width": 9}),
]


def tell(run, told):
    """Fill the ledger's columns of metadata, null where nothing is told of a key."""
    for path in (run / "best/ledger").glob("*.parquet"):
        table = pq.read_table(path)
        for name, kind in METADATA.items():
            values = [told.get(key, {}).get(name) for key in table["key"].to_pylist()]
            table = table.set_column(table.column_names.index(name), name, pa.array(values, kind))
        pq.write_table(table, path)
    return run


@pytest.fixture
def told_run(run):
    """The run of "000" to "003" and "010", "011", of which "001" and "010" are dropped: "001" alone has a sha256."""
    return tell(run, TOLD)


def rest_of(found):
    return {name: value for name, value in found.items() if name in METADATA}


def test_tars(told_run, tmp_path):
    export_set(told_run, tmp_path / "out", "webdataset")
    tars = [str(tmp_path / "out" / name) for name in ("a.tar", "b.tar")]
    found = [json.loads(sample["json"]) for sample in webdataset.WebDataset(tars, shardshuffle=False)]
    assert [(fields["key"], rest_of(fields)) for fields in found] == EXPECTED


def test_tables(told_run, tmp_path):
    export_set(told_run, tmp_path / "out", "parquet")
    tables = pa.concat_tables(pq.read_table(tmp_path / "out" / f"{part}.parquet") for part in "ab")
    assert [(row["key"], rest_of(row)) for row in tables.to_pylist()] == EXPECTED
    schema = pq.read_schema(tmp_path / "out/b.parquet")  # of all parts, whatever is null in this one
    assert {name: schema.field(name).type for name in METADATA if name in schema.names} == {
        name: METADATA[name] for name in ("url", "sha256", "width")
    }
    files = str(tmp_path / "out/*.parquet")
    loaded = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded.features["image"].dtype == "PIL.Image.Image"
    assert [(row["key"], rest_of(row)) for row in loaded] == EXPECTED


def test_keep_list(told_run, tmp_path):
    export_set(told_run, tmp_path / "out", "keys")
    found = pq.read_table(tmp_path / "out/keep_list.parquet").to_pylist()
    assert [(row["key"], rest_of(row)) for row in found] == EXPECTED
    assert "003" in KeepList(tmp_path / "out")


@pytest.mark.parametrize("format", FORMATS)
def test_where_nothing_is_told_nothing_is_written(two_tars, tmp_path, format):
    export_set(tar_run(tmp_path / "run", two_tars), tmp_path / "before", format)
    tell(tmp_path / "run", {})
    export_set(tmp_path / "run", tmp_path / "after", format)
    before, after = files_in(tmp_path / "before"), files_in(tmp_path / "after")
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} <= {"manifest.json", "a.note.json", "b.note.json"}


def test_annotations_and_the_mapped_list_stay_as_they_are(told_run, two_tars, tmp_path):
    plain = tar_run(tmp_path / "plain", two_tars, dropped={"001", "010"})
    for format, names in {"lavis": ["annotations.json"], "keys": ["keys.txt", "keep_list.arrow"]}.items():
        export_set(plain, tmp_path / "before" / format, format)
        export_set(told_run, tmp_path / "after" / format, format)
        for name in names:
            found = [(tmp_path / when / format / name).read_bytes() for when in ("before", "after")]
            assert found[0] == found[1]


@pytest.mark.parametrize(("format", "files"), [("webdataset", {"tars": "*.tar"}), ("parquet", {"tables": "*.parquet"})])
def test_it_comes_back_from_an_export(told_run, tmp_path, format, files):
    export_set(told_run, tmp_path / "out", format)
    patterns = {name: str(tmp_path / "out" / pattern) for name, pattern in files.items()}
    source = build_source({"format": format, **patterns})
    records = [record for part in source.parts for record in source.read(part, images=False)]
    assert [(r.key, {name: getattr(r, name) for name in EXPECTED[0][1]}) for r in records] == EXPECTED
