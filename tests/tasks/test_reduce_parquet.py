"""A pool that img2dataset wrote as Parquet, images inside, is reduced as the same pool in tars is."""

import json
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf
from reductions import ledger_rows, reduce_set

from lavis_tldr.api import open_run
from lavis_tldr.datasets.tldr_reduced import ReducedBuilder
from lavis_tldr.sources import build_source, decode_image
from lavis_tldr.sources.record import METADATA

PLACE = ("image_path", "image_offset", "image_size")


@pytest.fixture
def tables(pool, tmp_path):
    """The pool's tars as img2dataset's ``--output_format parquet`` would have them."""
    folder = tmp_path / "tables"
    folder.mkdir()
    tars = build_source(pool.source)
    for part in tars.parts:
        rows = [{"key": r.key, "caption": r.caption, "status": "success", "jpg": r.image} for r in tars.read(part)]
        kinds = pa.schema(
            [("key", pa.string()), ("caption", pa.string()), ("status", pa.string()), ("jpg", pa.binary())]
        )
        pq.write_table(pa.Table.from_pylist(rows, kinds), folder / f"{part.name}.parquet", row_group_size=5)
    source = {"format": "parquet", "tables": str(folder / "*.parquet")}
    return SimpleNamespace(folder=folder, source=source, captioner=pool.captioner)


def images_by_key(source):
    source = build_source(source)
    return {record.key: record.image for part in source.parts for record in source.read(part)}


def rest_of(rows):
    return json.dumps([{name: row[name] for name in row if name not in (*PLACE, *METADATA)} for row in rows.values()])


def test_same_ledger_and_same_images(pool, tables, configure, tmp_path):
    reduce_set(configure(output=tmp_path / "tars", images="in_place"))
    reduce_set(configure(of=tables, output=tmp_path / "out", images="in_place", num_workers=2))
    expected, found = ledger_rows(tmp_path / "tars/reduced"), ledger_rows(tmp_path / "out/reduced")
    assert rest_of(found) == rest_of(expected)
    images = images_by_key(pool.source)
    kept = [row for row in found.values() if row["kept"]]
    assert [row["image_size"] for row in kept] == [len(images[row["key"]]) for row in kept]
    config = OmegaConf.create({"data_type": "images", "path": str(tmp_path / "out/reduced/build")})
    dataset = ReducedBuilder(config).build_datasets()["train"]
    dataset.vis_processor = lambda image: image.tobytes()
    served = [dataset[i]["image"] for i in range(len(dataset))]
    assert served == [decode_image(images[record["key"]]).tobytes() for record in dataset.annotation]


def test_kept_images_are_written_out_and_a_lost_table_is_repaired(tables, configure, tmp_path):
    reduce_set(configure(of=tables, images="export", keep_ratio=0.5))
    build = tmp_path / "out/reduced/build"
    images = images_by_key(tables.source)
    rows = json.loads((build / "annotations.json").read_text())
    assert rows and all((build / "images" / row["image"]).read_bytes() == images[row["key"]] for row in rows)
    assert open_run(tmp_path / "out").repair(dry_run=True)["lost"] == 0


def test_samples_of_a_lost_table_are_replaced(tables, configure, tmp_path):
    reduce_set(configure(of=tables, images="in_place", keep_ratio=0.3, num_clusters=2))
    kept = [row for row in ledger_rows(tmp_path / "out/reduced").values() if row["kept"]]
    part = kept[0]["part"]
    lost = {row["key"] for row in kept if row["part"] == part}
    (tables.folder / f"{part}.parquet").unlink()
    counts = open_run(tmp_path / "out").repair()
    assert (counts["checked"], counts["lost"]) == (len(kept), len(lost))
    after = {row["key"] for row in ledger_rows(tmp_path / "out/reduced").values() if row["kept"]}
    assert not after & lost and len(after) == len(kept) - counts["without_stand_in"]
