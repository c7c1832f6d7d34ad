"""What all exports share: nothing done twice, nothing mixed, nothing lost without a word."""

import json
import os
import re
import resource
import signal

import pyarrow.parquet as pq
import pytest
from ledgers import DROPPED, file_run, files_in, ledger_row, picture, tar_run, write_run

from lavis_tldr.exports import webdataset_tar
from lavis_tldr.exports.export import export_set
from lavis_tldr.exports.formats import FORMATS, PartWriter
from lavis_tldr.sources import ImageLocation

ONE_A_PART = {"webdataset": "{}.tar", "parquet": "{}.parquet"}


@pytest.fixture
def many(tmp_path):
    """A run of six parts, "00003" keeping nothing."""
    greys = {f"{i:02d}": i for i in range(12)}
    return file_run(tmp_path / "run", greys, dropped={"00", "06", "07"}, part_size=2)


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize("format", FORMATS)
def test_second_run_does_nothing_again(many, tmp_path, format):
    counts = export_set(many, tmp_path / "out", format)
    before = times(tmp_path / "out")
    assert export_set(many, tmp_path / "out", format) == {**counts, "files_written": 0}
    assert times(tmp_path / "out") == before


@pytest.mark.parametrize("format", FORMATS)
def test_workers_make_no_difference(many, tmp_path, format):
    one = export_set(many, tmp_path / "one", format)
    three = export_set(many, tmp_path / "three", format, num_workers=3)
    assert one == three and one["kept"] == 9
    one, three = files_in(tmp_path / "one"), files_in(tmp_path / "three")
    assert [name for name in one if name.endswith(("json", "npy"))]
    for found in (one, three):  # they tell times
        for name in [name for name in found if name == "manifest.json" or name.endswith(".note.json")]:
            del found[name]
    assert one == three


@pytest.mark.parametrize("format", ONE_A_PART)
def test_a_part_that_keeps_nothing_has_no_file(many, tmp_path, format):
    counts = export_set(many, tmp_path / "out", format)
    assert counts == {"read": 12, "kept": 9, "parts": 6, "files_written": 5}
    assert {name for name in files_in(tmp_path / "out") if "json" not in name} - {"README.md"} == {
        ONE_A_PART[format].format(f"{i:05d}") for i in (0, 1, 2, 4, 5)
    }


@pytest.mark.parametrize("format", ONE_A_PART)
def test_missing_parts_alone_are_written(many, tmp_path, format):
    export_set(many, tmp_path / "out", format)
    before, whole = times(tmp_path / "out"), files_in(tmp_path / "out")
    gone = ONE_A_PART[format].format("00002")
    (tmp_path / "out" / gone).unlink()
    assert export_set(many, tmp_path / "out", format)["files_written"] == 1
    after = times(tmp_path / "out")
    assert {name for name in before if after[name] != before[name]} - {"README.md"} == {
        gone,
        "00002.note.json",
        "manifest.json",
    }
    assert files_in(tmp_path / "out")[gone] == whole[gone]


def test_a_damaged_part_is_told(many, tmp_path):
    export_set(many, tmp_path / "out", "webdataset")
    whole = files_in(tmp_path / "out")
    os.truncate(tmp_path / "out/00002.tar", 100)
    with pytest.raises(ValueError, match="(?s)00002.tar has 100 bytes but had .*delete the changed file instead"):
        export_set(many, tmp_path / "out", "webdataset")
    (tmp_path / "out/00002.tar").unlink()
    export_set(many, tmp_path / "out", "webdataset")
    assert files_in(tmp_path / "out")["00002.tar"] == whole["00002.tar"]


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("format", ONE_A_PART)
def test_lost_images_are_told_when_all_other_parts_are_written(many, tmp_path, format, num_workers):
    for name in ("2", "3", "8"):  # both of part 00001, one of 00004
        (many / "images" / f"{name}.png").rename(tmp_path / name)
    (many / "images/8.png").write_bytes(b"no image any more")
    with pytest.raises(ValueError) as caught:
        export_set(many, tmp_path / "out", format, num_workers=num_workers)
    told = str(caught.value)
    assert told.startswith("3 kept images in 2 of 6 parts can't be read any more:\n  '02': ")
    assert "'08': " in told and f"`lavis-tldr repair {many}`" in told
    written = {name.partition(".")[0] for name in times(tmp_path / "out") if name.startswith("0")}
    assert written == {"00000", "00002", "00005"}
    for name in ("2", "3", "8"):
        (tmp_path / name).rename(many / "images" / f"{name}.png")
    assert export_set(many, tmp_path / "out", format)["files_written"] == 2
    export_set(many, tmp_path / "undisturbed", format)
    for i in (0, 1, 2, 4, 5):
        name = ONE_A_PART[format].format(f"{i:05d}")
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_annotations_never_name_a_lost_image(many, tmp_path):
    (many / "images/4.png").unlink()
    with pytest.raises(ValueError, match=r"1 kept images in 1 of 6 parts .*\n  '04': .*4.png is gone or empty"):
        export_set(many, tmp_path / "out", "lavis")
    assert list(times(tmp_path / "out")) == ["manifest.json"]


@pytest.mark.parametrize("format", ["webdataset", "parquet", "lavis"])
def test_a_tar_packed_anew_is_refused(run, two_tars, tmp_path, format):
    # The same members in another order: at each place lies a readable image, but another one.
    with open(two_tars[1], "rb") as file:
        data = file.read()
    half = data.index(b"011.png")
    first, second = data[:half], data[half : 2 * half]
    with open(two_tars[1], "wb") as file:
        file.write(second + first + data[2 * half :])
    with pytest.raises(ValueError, match=r"'011': .*b.tar has '010.png' in its place: the tar has changed"):
        export_set(run, tmp_path / "out", format)


def test_a_cut_tar_is_seen_without_reading_it(run, two_tars, tmp_path):
    os.truncate(two_tars[0], 512)
    with pytest.raises(ValueError, match=r"3 kept images in 1 of 2 parts .*\n  '000': .*a.tar is shorter than it was"):
        export_set(run, tmp_path / "out", "lavis")


@pytest.mark.parametrize("format", ["webdataset", "parquet", "lavis"])
def test_the_reductions_own_copy_is_as_good_as_the_original(run, two_tars, tmp_path, format):
    export_set(run, tmp_path / "before", format)
    copies = run / "best/build/images/b"
    copies.mkdir(parents=True)
    (copies / "011.png").write_bytes(picture(11))
    os.remove(two_tars[1])
    export_set(run, tmp_path / "out", format)
    if format == "lavis":
        rows = json.loads((tmp_path / "out/annotations.json").read_text())
        assert [(row["key"], "tar" in row) for row in rows] == [(k, k != "011") for k in ("000", "002", "003", "011")]
        assert rows[-1]["image"] == str(copies / "011.png")
    else:
        name = ONE_A_PART[format].format("b")
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "before" / name).read_bytes()


def test_another_ledger_or_format_is_refused(many, tmp_path):
    export_set(many, tmp_path / "out", "webdataset")
    before = files_in(tmp_path / "out")
    with pytest.raises(ValueError, match='holds something else already:\n  format: "webdataset" -> "parquet"\n'):
        export_set(many, tmp_path / "out", "parquet")
    with pytest.raises(ValueError, match='  caption: "caption" -> "caption_original"\n'):
        export_set(many, tmp_path / "out", "webdataset", caption="caption_original")
    ledger = many / "best/ledger/00002.parquet"
    table = pq.read_table(ledger)
    pq.write_table(table.set_column(table.column_names.index("caption"), "caption", [["other", "other"]]), ledger)
    with pytest.raises(ValueError, match="made from another ledger than .*, or from this one before it changed"):
        export_set(many, tmp_path / "out", "webdataset")
    assert files_in(tmp_path / "out") == before


def test_a_folder_of_something_else_is_refused(many, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious.txt").write_text("x")
    with pytest.raises(ValueError, match="holds files that are no export's .first: 'precious.txt'.: give a new folder"):
        export_set(many, tmp_path / "out", "keys")
    with pytest.raises(ValueError, match="precious.txt is a file; give a folder"):
        export_set(many, tmp_path / "out/precious.txt", "keys")
    for folder in (many, many / "best", many / "best/ledger"):
        with pytest.raises(ValueError, match="holds"):
            export_set(many, folder, "keys")


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_written_outside(run, tmp_path, format):
    before = files_in(tmp_path)
    export_set(run, tmp_path / "deep/er/out", format)
    after = files_in(tmp_path)
    assert {name for name in after if not name.startswith("deep/er/out/")} == set(before)
    assert all(after[name] == before[name] for name in before)


def test_unfinished_and_empty_reductions(tmp_path):
    (tmp_path / "x.png").write_bytes(picture(1))
    place = ImageLocation(str(tmp_path / "x.png"))
    run = write_run(tmp_path / "none", {"00000": [ledger_row("x", place, **DROPPED)]})
    with pytest.raises(ValueError, match="keeps none of its 1 records"):
        export_set(run, tmp_path / "out", "keys")
    (run / "best/ledger/manifest.json").write_text('{"done": false}')
    with pytest.raises(ValueError, match="ledger in .* is not finished"):
        export_set(run, tmp_path / "out", "keys")
    with pytest.raises(ValueError, match="no run folder"):
        export_set(tmp_path / "nothing", tmp_path / "out", "keys")
    assert not (tmp_path / "out").exists()


def test_a_caption_that_was_never_made(tmp_path):
    (tmp_path / "x.png").write_bytes(picture(1))
    rows = [ledger_row("x", ImageLocation(str(tmp_path / "x.png")), caption_generated="")]
    run = write_run(tmp_path / "run", {"00000": rows})
    told = re.escape("1 of 1 kept pairs of a part have no caption_generated (first: 'x'). Export another caption")
    with pytest.raises(ValueError, match=told):
        export_set(run, tmp_path / "out", "webdataset", caption="caption_generated")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"format": "webdatset"}, "export format 'webdatset' is unknown (did you mean 'webdataset'?)."),
        (
            {"format": "zip"},
            "export format 'zip' is unknown (known: keys, lavis, lavis_repeated, parquet, webdataset).",
        ),
        (
            {"caption": "text"},
            "export caption 'text' is unknown (known: caption, caption_generated, caption_original).",
        ),
        ({"num_workers": 0}, "num_workers is 0; give a whole number of at least 1"),
    ],
)
def test_wrong_choices(run, tmp_path, options, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        export_set(run, tmp_path / "out", **{"format": "keys", **options})


def test_a_set_by_name(tmp_path, two_tars):
    run = tar_run(tmp_path / "run", two_tars)
    (run / "best").rename(run / "first")
    tar_run(tmp_path / "other", two_tars, dropped={"000"})
    (tmp_path / "other/best").rename(run / "second")
    with pytest.raises(ValueError, match="first, second"):
        export_set(run, tmp_path / "out", "keys")
    assert export_set(run, tmp_path / "out", "keys", name="second")["kept"] == 5
    assert export_set(run / "first", tmp_path / "out2", "keys")["kept"] == 6


def test_a_killed_worker_is_told_and_what_it_left_is_mended(many, tmp_path, monkeypatch):
    write = webdataset_tar.WRITER.write

    def die_in_part_4(pairs, path, metadata):
        pairs = list(pairs)
        if pairs[0].row["key"] == "08":
            path.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        return write(pairs, path, metadata)

    monkeypatch.setattr(webdataset_tar, "WRITER", PartWriter(".tar", die_in_part_4))
    with pytest.raises(ValueError, match="a worker process ended abruptly"):
        export_set(many, tmp_path / "out", "webdataset", num_workers=2)
    assert "00004.tar" not in times(tmp_path / "out")
    monkeypatch.undo()
    export_set(many, tmp_path / "out", "webdataset", num_workers=2)
    assert not [name for name in times(tmp_path / "out") if name.startswith(".")]
    export_set(many, tmp_path / "undisturbed", "webdataset")
    for path in (tmp_path / "undisturbed").glob("*.tar"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("format", FORMATS)
def test_a_disk_without_room_is_told_and_the_rest_is_made_later(tmp_path, format, num_workers):
    greys = {f"{i:03d}{'x' * 60}": i for i in range(60)}
    run = file_run(tmp_path / "run", greys, part_size=30)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(ValueError, match="cannot write .*/out/.*finished parts are kept"):
            export_set(run, tmp_path / "out", format, num_workers=num_workers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not [name for name in times(tmp_path / "out") if name.startswith((".", "0", "k", "a"))]
    assert export_set(run, tmp_path / "out", format, num_workers=num_workers)["kept"] == 60
