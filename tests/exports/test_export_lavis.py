import json

import pyarrow as pa
import pytest
from lavis.datasets.datasets.image_text_pair_datasets import ImageTextPairDataset
from ledgers import HOSTILE_KEYS, file_run, files_in, ledger_row
from omegaconf import OmegaConf

from lavis_tldr.datasets.tldr_reduced import ReducedBuilder
from lavis_tldr.exports.annotation_list import annotation_rows
from lavis_tldr.exports.export import export_set
from lavis_tldr.sources import ImageLocation


def grey_of(image) -> int:
    return image.getpixel((0, 0))[0]


def reduced_pairs(folder) -> list[tuple[int, str]]:
    """What ``tldr_reduced`` serves."""
    config = OmegaConf.create({"data_type": "images", "path": str(folder)})
    dataset = ReducedBuilder(config).build_datasets()["train"]
    dataset.vis_processor = grey_of
    return [(dataset[i]["image"], dataset[i]["text_input"]) for i in range(len(dataset))]


def stock_pairs(folder) -> list[tuple[int, str]]:
    """What LAVIS's own dataset serves, with image_root ``folder``."""
    dataset = ImageTextPairDataset(grey_of, str, str(folder), [str(folder / "annotations.json")])
    return [(dataset[i]["image"], dataset[i]["text_input"]) for i in range(len(dataset))]


def test_tars_are_read_in_place_by_tldr_reduced(run, tmp_path):
    counts = export_set(run, tmp_path / "out", "lavis")
    assert counts == {"read": 6, "kept": 4, "parts": 2, "files_written": 1}
    assert reduced_pairs(tmp_path / "out") == [(0, "000 both"), (2, "002 both"), (3, "003 both"), (11, "011 both")]
    assert sorted(files_in(tmp_path / "out")) == ["annotations.json", "manifest.json"]


def test_files_are_read_by_both(tmp_path):
    run = file_run(tmp_path / "run", {"a": 1, "b": 2, "c": 3, "d": 4}, dropped={"b"}, part_size=3)
    export_set(run, tmp_path / "out", "lavis")
    expected = [(1, "a both"), (3, "c both"), (4, "d both")]
    assert stock_pairs(tmp_path / "out") == expected
    assert reduced_pairs(tmp_path / "out") == expected


def test_hostile_keys_come_back(tmp_path):
    greys = {key: i for i, key in enumerate(HOSTILE_KEYS)}
    export_set(file_run(tmp_path / "run", greys), tmp_path / "out", "lavis")
    assert stock_pairs(tmp_path / "out") == [(greys[key], f"{key} both".strip()) for key in sorted(greys)]
    rows = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [row["key"] for row in rows] == sorted(greys)


@pytest.mark.parametrize(("caption", "word"), [("caption_original", "old"), ("caption_generated", "new")])
def test_caption_is_a_choice(tmp_path, caption, word):
    export_set(file_run(tmp_path / "run", {"a": 1}), tmp_path / "out", "lavis", caption=caption)
    assert stock_pairs(tmp_path / "out") == [(1, f"a {word}")]


def test_rows_by_hand():
    rows = [
        ledger_row("k#0", ImageLocation("/data/k.png"), image_key="k"),
        ledger_row("m", ImageLocation("/data/0.tar", 512, 99)),
        ledger_row("t", ImageLocation.in_table("/data/0.parquet", "jpg", 7, 98)),
    ]
    captions = [
        {"key": key, "caption": f"{key} both", "caption_original": f"{key} old", "caption_generated": f"{key} new"}
        for key in ("k#0", "m", "t")
    ]
    table = pa.Table.from_pylist(rows)
    assert list(annotation_rows(table)) == [
        {"image": "/data/k.png", **captions[0]},
        {"image": "m.jpg", **captions[1], "tar": "/data/0.tar", "offset": 512, "size": 99},
        {"image": "t.jpg", **captions[2], "table": "/data/0.parquet", "column": "jpg", "row": 7, "size": 98},
    ]
    assert list(annotation_rows(table, {"k": "0/k.png", "m": "1/m.jpg", "t": "2/t.jpg"})) == [
        {"image": "0/k.png", **captions[0]},
        {"image": "1/m.jpg", **captions[1]},
        {"image": "2/t.jpg", **captions[2]},
    ]
