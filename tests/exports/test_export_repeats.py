"""How often a pair is kept goes out with a set that may keep it more than once, in every format."""

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from lavis.datasets.datasets.image_text_pair_datasets import ImageTextPairDataset
from ledgers import file_run, files_in
from omegaconf import OmegaConf

from lavis_tldr.datasets.tldr_reduced import ReducedBuilder
from lavis_tldr.exports.export import export_set
from lavis_tldr.exports.formats import FORMATS
from lavis_tldr.keep_list import KeepList

REPEATS = {"a": 3, "b": 0, "c": 1, "d": 2}


@pytest.fixture
def repeated_run(tmp_path):
    """Files a to d in two parts, b dropped and the others kept as often as REPEATS says."""
    run = file_run(tmp_path / "run", {"a": 1, "b": 2, "c": 3, "d": 4}, dropped={"b"}, part_size=3)
    for path in (run / "best/ledger").glob("*.parquet"):
        table = pq.read_table(path)
        found = pa.array([REPEATS[key] for key in table["key"].to_pylist()], pa.int32())
        pq.write_table(table.set_column(table.column_names.index("repeats"), "repeats", found), path)
    return run


def grey_of(image):
    return image.getpixel((0, 0))[0]


def test_annotations_tell_and_tldr_reduced_counts(repeated_run, tmp_path):
    counts = export_set(repeated_run, tmp_path / "out", "lavis")
    assert counts["kept"] == 3
    rows = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [(row["key"], row["repeats"]) for row in rows] == [("a", 3), ("c", 1), ("d", 2)]
    config = OmegaConf.create({"data_type": "images", "path": str(tmp_path / "out")})
    dataset = ReducedBuilder(config).build_datasets()["train"]
    dataset.vis_processor = grey_of
    assert [dataset[i]["image"] for i in range(len(dataset))] == [1, 1, 1, 3, 4, 4]
    # Stock LAVIS does not know the field.
    stock = ImageTextPairDataset(grey_of, str, str(tmp_path), [str(tmp_path / "out/annotations.json")])
    assert [stock[i]["image"] for i in range(len(stock))] == [1, 3, 4]


def test_written_out_for_stock_lavis(repeated_run, tmp_path):
    export_set(repeated_run, tmp_path / "out", "lavis_repeated")
    rows = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [row["key"] for row in rows] == list("aaacdd") and not any("repeats" in row for row in rows)
    stock = ImageTextPairDataset(grey_of, str, str(tmp_path), [str(tmp_path / "out/annotations.json")])
    assert [stock[i]["image"] for i in range(len(stock))] == [1, 1, 1, 3, 4, 4]


def test_tars(repeated_run, tmp_path):
    export_set(repeated_run, tmp_path / "out", "webdataset")
    found = {}
    for path in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(path) as tar:
            for name in tar.getnames():
                if name.endswith(".json"):
                    fields = json.load(io.TextIOWrapper(tar.extractfile(name)))
                    found[fields["key"]] = fields["repeats"]
    assert found == {"a": 3, "c": 1, "d": 2}  # a key once


def test_tables(repeated_run, tmp_path):
    export_set(repeated_run, tmp_path / "out", "parquet")
    files = str(tmp_path / "out/*.parquet")
    loaded = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    assert [(row["key"], row["repeats"]) for row in loaded] == [("a", 3), ("c", 1), ("d", 2)]
    assert loaded.features["repeats"].dtype == "int32"


def test_keep_list(repeated_run, tmp_path):
    export_set(repeated_run, tmp_path / "out", "keys")
    table = pq.read_table(tmp_path / "out/keep_list.parquet")
    assert [(row["key"], row["repeats"]) for row in table.to_pylist()] == [("a", 3), ("c", 1), ("d", 2)]
    assert (tmp_path / "out/keys.txt").read_text().split() == ["a", "c", "d"]
    keep = KeepList(tmp_path / "out")
    samples = [{"__key__": key, "txt": f"{key} old"} for key in "abcd"]
    assert [keep.repeats(sample) for sample in samples] == [3, 0, 1, 2]
    assert [sample["txt"] for sample in keep.filter(samples)] == [f"{key} both" for key in "aaacdd"]
    copies = list(keep.filter(samples))
    copies[0]["txt"] = "changed"
    assert copies[1]["txt"] == "a both"  # copies are their own


@pytest.mark.parametrize("format", sorted({*FORMATS} - {"lavis_repeated"}))
def test_a_set_without_them_tells_none(tmp_path, format):
    """A ledger of a run without them has no such column; one that is null throughout is like it."""
    run = file_run(tmp_path / "run", {"a": 1, "b": 2})
    export_set(run, tmp_path / "null", format)
    for path in (run / "best/ledger").glob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["repeats"]), path)
    export_set(run, tmp_path / "none", format)
    null, none = files_in(tmp_path / "null"), files_in(tmp_path / "none")
    same = {name for name in none if null[name] == none[name]}
    assert null.keys() == none.keys() and all("manifest" in name or "note" in name for name in none.keys() - same)
    assert not any(b"repeats" in data for name, data in none.items() if not name.startswith("manifest"))
    if format == "keys":
        keep = KeepList(tmp_path / "none")
        assert keep.repeats({"__key__": "a"}) == 1 and keep.repeats({"__key__": "z"}) == 0
