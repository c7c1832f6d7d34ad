"""The keep-list, applied by the WebDataset library and by LAVIS to the original tars."""

from itertools import islice

import pyarrow.parquet as pq
import pytest
import webdataset
from lavis.datasets.datasets.laion_dataset import LaionDataset
from ledgers import HOSTILE_KEYS, file_run, sample, tar_run, write_tar
from torch.utils.data import DataLoader

from lavis_tldr.exports.export import export_set
from lavis_tldr.keep_list import KeepList

KEPT = [("000", "000 both"), ("002", "002 both"), ("003", "003 both"), ("011", "011 both")]


def original(tars, **options):
    return webdataset.WebDataset(tars, shardshuffle=False, **options)


def test_the_library_reads_the_ledgers_pairs_from_the_original_tars(run, two_tars, tmp_path):
    export_set(run, tmp_path / "out", "keys")
    keep = KeepList(tmp_path / "out")
    dataset = original(two_tars).select(keep).map(keep.recaption)
    assert [(s["__key__"], s["txt"].decode()) for s in dataset] == KEPT
    decoded = original(two_tars).decode("pilrgb").select(keep).map(keep.recaption).to_tuple("png", "txt", "json")
    found = [(image.getpixel((0, 0))[0], text, fields["caption"]) for image, text, fields in decoded]
    assert found == [(grey, f"{grey:03d} both", f"{grey:03d} both") for grey in (0, 2, 3, 11)]


def test_loader_workers_share_it(run, two_tars, tmp_path):
    export_set(run, tmp_path / "out", "keys")
    keep = KeepList(tmp_path / "out")
    dataset = original(two_tars).compose(keep.filter).to_tuple("__key__", "txt")
    for context in ("fork", "spawn"):
        loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context=context)
        assert sorted((key, text.decode()) for key, text in loader) == KEPT


def test_laviss_own_pipeline_trains_on_the_kept_pairs(tmp_path):
    members = [sample(f"{i:03d}", i, "JPEG", "jpg") for i in range(4)]
    tar = write_tar(tmp_path / "a.tar", {name: data for sample in members for name, data in sample.items()})
    export_set(tar_run(tmp_path / "run", [tar], dropped={"001", "002"}), tmp_path / "out", "keys")
    laion = LaionDataset(lambda image: image.getpixel((0, 0))[0], str, tar).inner_dataset
    laion.pipeline.insert(2, KeepList(tmp_path / "out").filter)
    served = {(s["image"], s["text_input"]) for s in islice(laion, 50)}  # it repeats for ever
    assert served == {(0, "000 both"), (3, "003 both")}


def test_keys_that_repeat_from_tar_to_tar(tmp_path):
    tars = [write_tar(tmp_path / f"{part}/00000.tar", sample("0", 1) | sample("1", 2)) for part in ("x", "y")]
    run = tar_run(tmp_path / "run", tars, dropped={"00000_00000/0", "00001_00000/1"}, key_prefix=True)
    export_set(run, tmp_path / "out", "keys")
    keep = KeepList(tmp_path / "out")
    assert keep.key_prefix and "00001_00000/0" in keep
    found = [(s["__url__"], s["__key__"], s["txt"].decode()) for s in original(tars).select(keep).map(keep.recaption)]
    assert found == [(tars[0], "1", "00000_00000/1 both"), (tars[1], "0", "00001_00000/0 both")]


def test_members_below_a_dot_folder_and_in_folders(tmp_path):
    tar = write_tar(tmp_path / "a.tar", sample("./0", 1) | sample("./f/1", 2) | sample("g/2", 3))
    export_set(tar_run(tmp_path / "run", [tar], dropped={"g/2"}), tmp_path / "out", "keys")
    keep = KeepList(tmp_path / "out")
    assert [s["__key__"] for s in original([tar]).select(keep)] == ["./0", "./f/1"]


def test_hostile_keys_come_back(tmp_path):
    export_set(file_run(tmp_path / "run", dict.fromkeys(HOSTILE_KEYS, 1), dropped={"a\nb"}), tmp_path / "out", "keys")
    kept = sorted(set(HOSTILE_KEYS) - {"a\nb"})
    assert pq.read_table(tmp_path / "out/keep_list.parquet").to_pylist() == [
        {"key": k, "caption": f"{k} both", "caption_original": f"{k} old", "caption_generated": f"{k} new"}
        for k in kept
    ]
    lines = (tmp_path / "out/keys.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [{"a\rb\u2028c": r"a\rb\u2028c"}.get(key, key) for key in kept]  # one line each
    keep = KeepList(tmp_path / "out")
    assert len(keep) == len(kept)
    assert [key for key in HOSTILE_KEYS if key not in keep] == ["a\nb"]


def test_names_that_a_tar_can_have_but_should_not(tmp_path):
    stems = ["../../x", "/abs", "né", "a\nb", "x" * 300]
    tar = write_tar(
        tmp_path / "a.tar", {name: data for i, stem in enumerate(stems) for name, data in sample(stem, i).items()}
    )
    export_set(tar_run(tmp_path / "run", [tar], dropped={"né"}), tmp_path / "out", "keys")
    keep = KeepList(tmp_path / "out")
    assert [s["__key__"] for s in original([tar]).select(keep)] == [stem for stem in stems if stem != "né"]


@pytest.mark.parametrize("caption", ["caption_original", "caption_generated"])
def test_caption_is_a_choice(run, two_tars, tmp_path, caption):
    export_set(run, tmp_path / "out", "keys", caption=caption)
    keep = KeepList(tmp_path / "out")
    word = {"caption_original": "old", "caption_generated": "new"}[caption]
    assert [s["txt"].decode() for s in original(two_tars).select(keep).map(keep.recaption)] == [
        f"{key} {word}" for key, _ in KEPT
    ]
