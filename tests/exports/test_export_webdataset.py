import io
import json
import re
import tarfile

import webdataset
from hypothesis import given
from hypothesis import strategies as st
from ledgers import HOSTILE_KEYS, file_run, files_in, ledger_row, picture, sample, tar_run, write_run, write_tar
from PIL import Image
from webdataset.tariterators import base_plus_ext

from lavis_tldr.exports.export import export_set
from lavis_tldr.exports.webdataset_tar import member_stem
from lavis_tldr.sources import ImageLocation, WebDatasetSource


def samples_of(*tars):
    return list(webdataset.WebDataset([str(tar) for tar in tars], shardshuffle=False, empty_check=False))


def test_the_library_reads_the_ledgers_pairs(run, tmp_path):
    counts = export_set(run, tmp_path / "out", "webdataset")
    assert counts == {"read": 6, "kept": 4, "parts": 2, "files_written": 2}
    found = samples_of(tmp_path / "out/a.tar", tmp_path / "out/b.tar")
    assert [(s["__key__"], s["png"], s["txt"].decode()) for s in found] == [
        ("000", picture(0), "000 both"),
        ("002", picture(2), "002 both"),
        ("003", picture(3), "003 both"),
        ("011", picture(11), "011 both"),
    ]
    assert json.loads(found[0]["json"]) == {
        **{"key": "000", "caption": "000 both", "caption_original": "000 old", "caption_generated": "000 new"},
        **{"caption_from": "original_generated", "cluster": 3, "alignment": 0.25},
    }


def test_our_own_reader_takes_them_as_a_source(run, tmp_path):
    export_set(run, tmp_path / "out", "webdataset")
    source = WebDatasetSource(str(tmp_path / "out/*.tar"))
    records = [record for part in source.parts for record in source.read(part)]
    assert [(r.key, r.caption, r.error) for r in records] == [
        (key, f"{key} both", "") for key in ("000", "002", "003", "011")
    ]


def test_bytes_depend_on_nothing_but_the_ledger(run, tmp_path):
    export_set(run, tmp_path / "one", "webdataset")
    export_set(run, tmp_path / "two", "webdataset", num_workers=2)
    for name in ("a.tar", "b.tar"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with tarfile.open(tmp_path / "one/a.tar") as tar:
        members = tar.getmembers()
    assert [m.name for m in members[:4]] == ["000.png", "000.json", "000.txt", "002.png"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}


def test_suffix_follows_the_content(tmp_path):
    tar = write_tar(tmp_path / "a.tar", sample("0", 9, "JPEG", "png"))
    export_set(tar_run(tmp_path / "run", [tar]), tmp_path / "out", "webdataset")
    (found,) = samples_of(tmp_path / "out/a.tar")
    assert found["jpg"] == picture(9, "JPEG") and "png" not in found


def test_hostile_keys_stay_inside_and_come_back(tmp_path):
    greys = {key: i for i, key in enumerate(HOSTILE_KEYS)}
    export_set(file_run(tmp_path / "run", greys), tmp_path / "out", "webdataset")
    found = samples_of(tmp_path / "out/00000.tar")
    back = {json.loads(s["json"])["key"]: Image.open(io.BytesIO(s["png"])).getpixel((0, 0))[0] for s in found}
    assert back == greys and len(found) == len(greys)
    captions = {json.loads(s["json"])["key"]: s["txt"].decode() for s in found}
    assert captions == {key: f"{key} both" for key in greys}
    with tarfile.open(tmp_path / "out/00000.tar") as tar:
        # Refuses what leads out of the folder; Python before 3.10.12 and 3.11.4 has no such filter.
        careful = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(tmp_path / "deep/unpacked", **careful)
        num_members = len(tar.getmembers())
    assert len(files_in(tmp_path / "deep/unpacked")) == num_members == 3 * len(greys)
    assert not [path for path in (tmp_path / "deep").iterdir() if path.name != "unpacked"]


def test_an_image_of_several_captions_is_repeated(tmp_path):
    (tmp_path / "x.png").write_bytes(picture(7))
    place = ImageLocation(str(tmp_path / "x.png"))
    rows = [ledger_row(f"x.png#{i}", place, image_key="x.png", caption=f"caption {i}") for i in range(2)]
    export_set(write_run(tmp_path / "run", {"00000": rows}), tmp_path / "out", "webdataset")
    found = samples_of(tmp_path / "out/00000.tar")
    assert [(s["__key__"], s["png"], s["txt"]) for s in found] == [
        ("x%2Epng#0", picture(7), b"caption 0"),
        ("x%2Epng#1", picture(7), b"caption 1"),
    ]


def test_stems_by_hand():
    assert member_stem("00000/000000012") == "00000/000000012"
    assert member_stem("train.a/b.c.jpg#0") == "train.a/b%2Ec%2Ejpg#0"
    assert member_stem("../x") == "%2E./x"
    assert member_stem("__x__/y") == "%5F_x__/y"
    assert member_stem(".") == "%2E" != member_stem("%2E")


@given(st.lists(st.text(alphabet="a._/-%\\\n#~é", max_size=12), unique=True))
def test_any_keys_are_apart_and_split_by_the_library_as_meant(keys):
    stems = [member_stem(key) for key in keys]
    assert len(set(stems)) == len(keys)
    for stem in stems:
        assert base_plus_ext(f"{stem}.jpg") == (stem, "jpg")
        assert not re.match(r"__[^/]*__($|/)", stem)  # what the library passes over
        assert not {"", ".", ".."} & set(stem.split("/"))


def test_no_score_is_null(tmp_path):
    (tmp_path / "x.png").write_bytes(picture(7))
    rows = [ledger_row("x", ImageLocation(str(tmp_path / "x.png")), alignment=float("nan"))]
    export_set(write_run(tmp_path / "run", {"00000": rows}), tmp_path / "out", "webdataset")
    (found,) = samples_of(tmp_path / "out/00000.tar")
    assert json.loads(found["json"])["alignment"] is None
