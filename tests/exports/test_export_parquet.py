import pyarrow.parquet as pq
import pytest
from datasets import Image as ImageFeature
from datasets import load_dataset
from ledgers import HOSTILE_KEYS, file_run, picture

from lavis_tldr.exports import parquet_images
from lavis_tldr.exports.export import export_set


@pytest.fixture
def load(tmp_path):
    """Load Parquet files as Hugging Face's users do, with a cache of the test's own."""
    return lambda files: load_dataset("parquet", data_files=str(files), cache_dir=str(tmp_path / "cache"))["train"]


def test_the_library_reads_the_ledgers_pairs(run, tmp_path, load):
    export_set(run, tmp_path / "out", "parquet")
    found = load(tmp_path / "out/*.parquet")
    assert isinstance(found.features["image"], ImageFeature)
    image = found[0]["image"]
    assert (image.size, image.getpixel((0, 0))) == ((4, 4), (0, 0, 0))
    assert [(row["key"], row["image"].getpixel((0, 0))[0], row["caption"]) for row in found] == [
        ("000", 0, "000 both"),
        ("002", 2, "002 both"),
        ("003", 3, "003 both"),
        ("011", 11, "011 both"),
    ]
    assert {name: value for name, value in found[3].items() if name != "image"} == {
        **{"key": "011", "caption": "011 both", "caption_original": "011 old", "caption_generated": "011 new"},
        **{"caption_from": "original_generated", "cluster": 3, "alignment": 0.25},
    }
    assert found.cast_column("image", ImageFeature(decode=False))[1]["image"]["bytes"] == picture(2)


@pytest.mark.parametrize("part_size", [1, 10])
def test_the_folder_is_a_dataset(tmp_path, part_size):
    run = file_run(tmp_path / "run", {str(i): i for i in range(10)}, part_size=part_size)
    export_set(run, tmp_path / "out", "parquet")
    found = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert [row["image"].getpixel((0, 0))[0] for row in found["train"]] == list(range(10))


def test_hostile_keys_come_back(tmp_path, load):
    greys = {key: i for i, key in enumerate(HOSTILE_KEYS)}
    export_set(file_run(tmp_path / "run", greys), tmp_path / "out", "parquet")
    assert {row["key"]: row["image"].getpixel((0, 0))[0] for row in load(tmp_path / "out/00000.parquet")} == greys


def test_row_groups_are_bounded(tmp_path, monkeypatch):
    run = file_run(tmp_path / "run", {str(i): i for i in range(5)})

    def group_sizes(out):
        export_set(run, tmp_path / out, "parquet")
        about = pq.ParquetFile(tmp_path / out / "00000.parquet").metadata
        return [about.row_group(i).num_rows for i in range(about.num_row_groups)]

    assert group_sizes("whole") == [5]
    monkeypatch.setattr(parquet_images, "MAX_GROUP_ROWS", 2)
    assert group_sizes("by rows") == [2, 2, 1]
    monkeypatch.setattr(parquet_images, "MAX_GROUP_BYTES", 1)
    assert group_sizes("by bytes") == [1] * 5
