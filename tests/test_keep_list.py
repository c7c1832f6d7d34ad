import json
import logging
import os
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from lavis_tldr import keep_list
from lavis_tldr.exports import key_index as files
from lavis_tldr.exports.key_index import write_keep_list
from lavis_tldr.files import write_whole
from lavis_tldr.keep_list import KeepList


def rows_of(keys, tar=""):
    captions = {
        name: [f"{key} {name}" for key in keys] for name in ("caption", "caption_original", "caption_generated")
    }
    places = {"image_path": [tar or f"/{key}.png" for key in keys], "image_offset": [512 if tar else -1] * len(keys)}
    return pa.table({"key": keys, **captions, **places})


@pytest.fixture
def make(tmp_path):
    """A KeepList of keys by part."""

    def build(parts, tars=None, **options):
        tables = [(part, rows_of(keys, (tars or {}).get(part, ""))) for part, keys in parts.items()]
        write_keep_list(tables, lambda name: write_whole(tmp_path / name), **options)
        return KeepList(tmp_path)

    return build


def test_kept_keys_and_no_others(make):
    keys = {f"{part:05d}": [f"{part:05d}{i:04d}" for i in range(0, 300, 3)] for part in range(7)}
    keep = make(keys)
    assert len(keep) == 700
    for part in range(8):
        for i in range(300):
            assert keep({"__key__": f"{part:05d}{i:04d}"}) == (part < 7 and i % 3 == 0)


def test_each_key_has_its_own_caption(make):
    keep = make({"0": ["c", "a"], "1": [], "2": ["b"]})
    assert [keep.recaption({"__key__": key, "txt": b""})["txt"] for key in "abc"] == [
        b"a caption",
        b"b caption",
        b"c caption",
    ]


def test_equal_hashes_are_told_apart_by_the_keys(make, monkeypatch):
    for module in (files, keep_list):
        monkeypatch.setattr(module, "key_hash", lambda key: len(key))
    keep = make({"0": ["aa", "b"], "1": ["cc", "dd", "e"]})
    found = [key for key in ("aa", "bb", "cc", "dd", "ee", "b", "e", "f", "ggg") if key in keep]
    assert found == ["aa", "cc", "dd", "b", "e"]
    assert keep.recaption({"__key__": "dd", "txt": ""})["txt"] == "dd caption"


def test_hashes_of_all_64_bits_are_found_exactly(make, monkeypatch):
    # Neighbours that are one number as float64.
    hashes = {"a": 2**64 - 1, "b": 2**64 - 2, "c": 2**63, "d": 2**53 + 1, "e": 2**53, "f": 0}
    for module in (files, keep_list):
        monkeypatch.setattr(module, "key_hash", hashes.__getitem__)
    keep = make({"0": ["a", "c", "d"]})
    assert [key for key in hashes if key in keep] == ["a", "c", "d"]


def test_a_key_kept_twice_is_refused(make, tmp_path):
    with pytest.raises(ValueError, match="key 'a' is kept twice"):
        make({"0": ["a", "b"], "1": ["a"]})
    assert list(tmp_path.iterdir()) == []


def test_a_pickled_list_is_its_path_alone(make):
    keep = make({"0": [f"{i:09d}" for i in range(10_000)]})
    data = pickle.dumps(keep)
    assert len(data) < 1000
    assert "000009999" in pickle.loads(data) and "000010000" not in pickle.loads(data)


def test_columns_are_mapped_not_read(make):
    keep = make({"0": [str(i) for i in range(1000)]})
    assert isinstance(keep._hashes.base, np.memmap) and isinstance(keep._rows.base, np.memmap)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"txt": b"old"}, {"txt": b"a caption"}),
        ({"txt": "old"}, {"txt": "a caption"}),
        ({"caption": "old"}, {"caption": "a caption"}),
        ({"json": {"caption": "old", "url": 1}}, {"json": {"caption": "a caption", "url": 1}}),
        ({"jpg": b"image"}, {"jpg": b"image", "txt": b"a caption"}),
    ],
)
def test_recaption_keeps_each_fields_kind(make, before, after):
    keep = make({"0": ["a"]})
    assert keep.recaption({"__key__": "a", **before}) == {"__key__": "a", **after}


@pytest.mark.parametrize("fields", [b'{"caption": "old", "url": 1}', b"no json", b"[1]", b"\xff"])
def test_recaption_of_encoded_json(make, fields):
    refined = make({"0": ["a"]}).recaption({"__key__": "a", "json": fields})
    assert json.loads(refined["json"])["caption"] == "a caption"
    assert json.loads(refined["json"]).get("url") == (1 if b"url" in fields else None)


def test_recaption_leaves_the_sample_as_it_was(make):
    keep = make({"0": ["a"]})
    sample = {"__key__": "a", "json": {"caption": "old"}, "txt": b"old"}
    keep.recaption(sample)
    assert sample == {"__key__": "a", "json": {"caption": "old"}, "txt": b"old"}
    with pytest.raises(ValueError, match=r"'b' is not in .*put .select\(keep_list\) before"):
        keep.recaption({"__key__": "b"})


@pytest.mark.parametrize(
    "url",
    [
        "/data/t.tar",
        "file:/data/t.tar",
        "t.tar",
        "https://host/somewhere/t.tar?signature=1/2",
        "pipe:aws s3 cp s3://bucket/t.tar -",
        "pipe:cat '/data/t.tar'",
    ],
)
def test_a_part_is_known_by_its_tar(make, url):
    keep = make({"t": ["t/a"], "u v": ["u v/b"]}, {"t": "/data/t.tar", "u v": "/da ta/u v.tar"}, key_prefix=True)
    assert keep({"__key__": "a", "__url__": url})
    assert not keep({"__key__": "b", "__url__": url})
    assert not keep({"__key__": "t/a", "__url__": url})
    assert keep({"__key__": "b", "__url__": "/da ta/u v.tar"})


def test_tars_of_one_name_are_known_by_their_folders(make):
    keep = make(
        {"00000_t": ["00000_t/a"], "00001_t": ["00001_t/b"]},
        {"00000_t": "/data/x/t.tar", "00001_t": "/data/y/t.tar"},
        key_prefix=True,
    )
    for folder in ("/data", "/moved/to", "https://host"):
        assert keep({"__key__": "a", "__url__": f"{folder}/x/t.tar"})
        assert not keep({"__key__": "a", "__url__": f"{folder}/y/t.tar"})
    for url in ("/data/z/t.tar", "t.tar", "/data/x/other.tar", ""):
        with pytest.raises(ValueError, match="names none of its tars .such as 't.tar'., or several"):
            keep({"__key__": "a", "__url__": url})


def test_without_prefix_the_tars_name_does_not_matter(make):
    keep = make({"t": ["a", "t/b"]}, {"t": "/data/t.tar"})
    assert keep({"__key__": "a", "__url__": "/elsewhere/other.tar"})
    assert not keep({"__key__": "b", "__url__": "/data/t.tar"})


def test_a_list_of_other_tars_is_noticed(make, monkeypatch, caplog):
    monkeypatch.setattr(keep_list, "_SUSPICIOUS", 3)
    with caplog.at_level(logging.WARNING):
        list(make({"0": ["a"]}).filter([{"__key__": key} for key in "xyzxyz"]))
        assert len(caplog.records) == 1 and "none of the first 3 samples (the last: 'z'" in caplog.text
        list(make({"0": ["a"]}).filter([{"__key__": key} for key in "xaxyz"]))
        assert len(caplog.records) == 1


def test_what_is_no_keep_list(make, tmp_path):
    with pytest.raises(ValueError, match="holds no keep-list"):
        KeepList(tmp_path)
    make({"0": ["a", "b"]})
    index = (tmp_path / "keep_list.npy").read_bytes()
    for bad in (b"", b"rubbish", index[:100], index[:-1]):
        (tmp_path / "keep_list.npy").write_bytes(bad)
        with pytest.raises(ValueError, match="holds no keep-list"):
            KeepList(tmp_path)
    np.save(tmp_path / "keep_list.npy", np.zeros((2, 3), np.uint64))
    with pytest.raises(ValueError, match="are not of one keep-list"):
        KeepList(tmp_path)
    (tmp_path / "keep_list.npy").write_bytes(index)
    (tmp_path / "keep_list.arrow").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="holds no keep-list"):
        KeepList(tmp_path)


class Trap:
    def __reduce__(self):
        return print, ("unpickled",)


def test_pickles_are_never_loaded(make, tmp_path, capsys):
    make({"0": ["a"]})
    np.save(tmp_path / "keep_list.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="holds no keep-list"):
        KeepList(tmp_path)
    assert "unpickled" not in capsys.readouterr().out


def test_loader_workers_need_not_import_torch():
    program = "import sys, lavis_tldr.keep_list; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "LAVIS_TLDR_NO_REGISTER": "1"})
