"""One reduction over all that a crawl of the web brings: every sample accounted for, nothing outside the run folder."""

import json
import tarfile
from types import SimpleNamespace

import hostile_set
import pytest
from hostile_set import Sample, encoded, link, scene, write_tar
from reductions import ledger_rows, write_config

from lavis_tldr.exports.export import export_set
from lavis_tldr.exports.formats import FORMATS
from lavis_tldr.sources import decode_image

SETTINGS = {"selection": "aligned", "recipe": "original_generated", "keep_ratio": 1, "images": "export"}
TWICE = [
    Sample("twice.png", encoded(scene(30)), b"the first of two", "the first of two"),
    Sample("twice.png", encoded(scene(31)), b"the second"),
]
CUT = [Sample(f"cut{i}.png", encoded(scene(40 + i))) for i in range(3)]


def listing(folder, but):
    """Every file and folder with the time of its last change, but for one folder."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*") if but not in (path, *path.parents)}


@pytest.fixture(scope="module")
def crawl(forked_ranks, pool, tmp_path_factory):
    """The reduction, by two processes; every usable sample is kept, with its caption and a generated one."""
    base = tmp_path_factory.mktemp("crawl")
    out, tars = base / "a/b/c/out", base / "a/b/c/tars"  # so deep that what ../.. leads to would be seen
    out.mkdir(parents=True)
    tars.mkdir()
    sets = {"images": hostile_set.images(base / "effect"), "captions": hostile_set.captions()}
    sets["names"] = hostile_set.names()
    for name, samples in sets.items():
        write_tar(tars / f"{name}.tar", samples)
    links = link("soft.png", "/etc/hostname"), link("hard.png", "twice.png", tarfile.LNKTYPE)
    write_tar(tars / "doubled.tar", TWICE, *links)
    cut = write_tar(tars / "cut.tar", CUT)
    with tarfile.open(cut) as tar:
        inside = tar.getmember(CUT[2].name).offset_data + 100
    cut.write_bytes(cut.read_bytes()[:inside])
    source = {"format": "webdataset", "tars": str(tars / "*.tar")}
    config = write_config(out.parent / "reduce.yaml", source, pool.captioner, out, **SETTINGS)
    before = listing(base, but=out)
    outcome = forked_ranks.reduce(config, ranks=2)
    assert outcome.succeeded, outcome.log
    ledger = ledger_rows(out / "reduced")
    return SimpleNamespace(base=base, out=out, sets=sets, before=before, ledger=ledger)


@pytest.mark.parametrize("name", ["images", "captions", "names"])
def test_each_sample_has_its_ending_and_caption(crawl, name):
    for sample in crawl.sets[name]:
        row = crawl.ledger[sample.key]
        assert row["reason"].startswith(sample.ending), sample.key
        assert row["kept"] == (sample.ending == "kept"), sample.key
        assert row["caption_original"] == sample.caption, sample.key


def test_odd_images_are_seen_as_the_plain_ones_with_their_pixels(crawl):
    def place(key):
        return crawl.ledger[key]["cluster"], crawl.ledger[key]["distance"]

    twins = {sample.key: sample.twin for sample in crawl.sets["images"] if sample.twin}
    assert set(twins) == {"sixteen_bit", "palette", "loop", "film", "turned"}
    assert {key: place(key) for key in twins} == {key: place(twin) for key, twin in twins.items()}
    assert place("still") != place("wide")


def test_a_key_twice_in_a_tar_is_its_first_sample(crawl):
    assert crawl.ledger["twice"]["reason"] == "kept"
    assert crawl.ledger["twice"]["caption_original"] == TWICE[0].caption
    assert crawl.ledger["twice~2"]["reason"].startswith("failed: doubled key")


def test_a_tar_cut_short_gives_what_it_has(crawl):
    assert [crawl.ledger[key]["reason"] for key in ("cut0", "cut1")] == ["kept", "kept"]
    assert crawl.ledger["cut~truncated"]["reason"].startswith("failed: truncated tar")


def test_links_are_not_followed(crawl):
    for key in ("soft", "hard"):
        assert crawl.ledger[key]["reason"].startswith("failed: missing image")


def test_no_row_is_lost_or_added(crawl):
    expected = {sample.key for samples in crawl.sets.values() for sample in samples}
    assert set(crawl.ledger) == expected | {"soft", "hard", "twice", "twice~2", "cut0", "cut1", "cut~truncated"}


def test_nothing_is_written_outside_the_run_folder(crawl):
    assert listing(crawl.base, but=crawl.out) == crawl.before
    assert not (crawl.base / "effect").exists()  # the pickle was never loaded


def test_annotations_name_every_kept_sample_and_an_image_inside(crawl):
    build = crawl.out / "reduced/build"
    rows = json.loads((build / "annotations.json").read_text(encoding="ascii"))
    kept = {key: row for key, row in crawl.ledger.items() if row["kept"]}
    assert sorted(row["key"] for row in rows) == sorted(kept)
    assert sorted((build / "keys.txt").read_text(encoding="utf-8").splitlines()) == sorted(kept)
    images = (build / "images").resolve()
    found = [(images / row["image"]).resolve() for row in rows]
    assert {path for path in images.rglob("*") if path.is_file()} == set(found)
    assert len(set(found)) == len(kept)
    for row, path in zip(rows, found, strict=True):
        assert decode_image(path.read_bytes()).mode == "RGB"
        assert row["caption"].startswith(kept[row["key"]]["caption_original"])


def test_the_build_folder_holds_nothing_else(crawl):
    """A key with ../.. leads from images/ into the build folder, too."""
    files = {path.name for path in (crawl.out / "reduced/build").iterdir()}
    assert files == {"annotations.json", "keys.txt", "images", "manifest.json"}


@pytest.mark.parametrize("form", FORMATS)
def test_exports_write_nothing_outside_their_folder(crawl, tmp_path, form):
    out = tmp_path / "a/b/c" / form
    out.mkdir(parents=True)
    run_before, before = listing(crawl.base, but=None), listing(tmp_path, but=out)
    num_kept = sum(row["kept"] for row in crawl.ledger.values())
    assert export_set(crawl.out, out, form)["kept"] == num_kept
    assert (listing(crawl.base, but=None), listing(tmp_path, but=out)) == (run_before, before)
    for path in out.glob("*.tar"):
        with tarfile.open(path) as tar:
            names = tar.getnames()
        assert not [name for name in names if name.startswith("/") or ".." in name.split("/")]
