"""Images that go missing after a reduction are replaced by understudies, and nothing else changes."""

import json
import shutil
from types import SimpleNamespace

import pytest
from reductions import annotations, files_of, ledger_rows, reduce_set, write_captioner

from lavis_tldr import cli
from lavis_tldr.api import open_run
from lavis_tldr.runs.stage_folder import Stage


@pytest.fixture
def gallery(tmp_path, album):
    """A copy of the album, one pair an image, that may lose images."""
    folder = tmp_path / "gallery"
    shutil.copytree(album.folder / "images", folder / "images")
    rows = [{"image": row["image"], "caption": row["caption"][0]} for row in album.rows]
    (folder / "rows.json").write_text(json.dumps(rows))
    source = {
        "format": "lavis_json",
        "annotations": str(folder / "rows.json"),
        "image_root": str(folder / "images"),
        "part_size": 5,
    }
    return SimpleNamespace(folder=folder, source=source, captioner=album.captioner, rows=rows)


@pytest.fixture
def in_place(configure, gallery, tmp_path):
    """A finished reduction that keeps half of the gallery where it lies; the folder of its set."""
    reduce_set(configure(of=gallery, images="in_place", num_clusters=2, keep_ratio=0.5))
    return tmp_path / "out/reduced"


def figures(checked, lost, replaced, without, understudies):
    return {
        "checked": checked,
        "copied_again": 0,
        "lost": lost,
        "replaced": replaced,
        "without_stand_in": without,
        "understudies_lost": understudies,
    }


def told_of(rows):
    return json.dumps(rows, sort_keys=True)  # NaN is NaN


def kept_of(rows):
    return {key for key, row in rows.items() if row["kept"]}


def kept_keys(recipe):
    return kept_of(ledger_rows(recipe))


def test_nothing_lost_changes_nothing(in_place, tmp_path):
    before = files_of(tmp_path / "out")
    found = open_run(tmp_path / "out").repair()
    assert found == {
        "checked": 6,
        "copied_again": 0,
        "lost": 0,
        "replaced": 0,
        "without_stand_in": 0,
        "understudies_lost": 0,
    }
    assert files_of(tmp_path / "out") == before


def test_the_next_of_the_cluster_stands_in(in_place, gallery, tmp_path):
    before = ledger_rows(in_place)
    by_rank = sorted((row["cluster"], row["understudy"], key) for key, row in before.items() if row["understudy"])
    lost = min(kept_keys(in_place))
    cluster = before[lost]["cluster"]
    first, second = [key for own, _, key in by_rank if own == cluster][:2]
    # The lost one, and the understudy that would have stepped in.
    for key in (lost, first):
        (gallery.folder / "images" / key).unlink()
    told = open_run(tmp_path / "out").repair(dry_run=True)
    assert told == {
        "checked": 6,
        "copied_again": 0,
        "lost": 1,
        "replaced": 1,
        "without_stand_in": 0,
        "understudies_lost": 1,
    }
    assert told_of(ledger_rows(in_place)) == told_of(before)
    assert open_run(tmp_path / "out").repair() == told

    after = ledger_rows(in_place)
    assert kept_keys(in_place) == kept_of(before) - {lost} | {second}
    assert after[lost]["reason"] == "dropped: image gone missing"
    assert after[second]["reason"] == f"kept: stands in for {lost}"
    assert after[second]["caption_from"] == "original_generated"
    assert after[second]["caption"] == f"{after[second]['caption_original']}; {after[second]['caption_generated']}"
    assert after[second]["caption_generated"]
    unchanged = set(before) - {lost, second}
    assert told_of({key: after[key] for key in unchanged}) == told_of({key: before[key] for key in unchanged})
    assert {row["key"] for row in annotations(in_place / "build")} == kept_keys(in_place)
    assert json.loads((in_place / "repaired.json").read_text())["replaced"] == {lost: second}

    # A second loss, of the stand-in.
    (gallery.folder / "images" / second).unlink()
    again = open_run(tmp_path / "out").repair()
    assert again["lost"] == 1
    final = ledger_rows(in_place)
    assert final[lost]["reason"] == final[second]["reason"] == "dropped: image gone missing"
    stand_in = json.loads((in_place / "repaired.json").read_text())["replaced"][second]
    assert (final[stand_in]["reason"] if stand_in else "") == (f"kept: stands in for {second}" if stand_in else "")
    assert open_run(tmp_path / "out").repair()["lost"] == 0


def test_a_stand_in_is_kept_as_often_as_the_lost_one_was(configure, gallery, tmp_path):
    repeated = {"selection": "aligned", "max_repeats": 3, "repeat_penalty": 0.0}
    figures = reduce_set(configure(of=gallery, images="in_place", num_clusters=1, keep_ratio=0.5, **repeated))
    assert (figures["counts"]["kept"], figures["counts"]["drawn"]) == (2, 6)  # without penalty each three times
    recipe = tmp_path / "out/reduced"
    before = ledger_rows(recipe)
    lost, stays = sorted(kept_of(before))
    assert (before[lost]["repeats"], before[stays]["repeats"]) == (3, 3)
    (gallery.folder / "images" / lost).unlink()
    assert open_run(tmp_path / "out").repair()["replaced"] == 1
    after = ledger_rows(recipe)
    (stand_in,) = kept_of(after) - {stays}
    assert {key: row["repeats"] for key, row in after.items() if row["repeats"]} == {stays: 3, stand_in: 3}
    assert after[lost]["repeats"] == 0 and before[stand_in]["understudy"] == 1
    assert {row["key"]: row["repeats"] for row in annotations(recipe / "build")} == {stays: 3, stand_in: 3}
    told = open_run(tmp_path / "out").why(stand_in)["sets"]["reduced"]
    assert told["repeats"] == 3 and told["explanation"].startswith(f"kept 3 times: stands in for {lost}")
    # Lost in its turn: the next takes the place that was the first one's.
    (gallery.folder / "images" / stand_in).unlink()
    open_run(tmp_path / "out").repair()
    assert sorted(row["repeats"] for row in ledger_rows(recipe).values())[-3:] == [0, 3, 3]


def test_a_repair_does_not_depend_on_what_was_lost_first(in_place, gallery, configure, tmp_path):
    lost = sorted(kept_keys(in_place))[:2]
    for key in lost:
        (gallery.folder / "images" / key).rename(tmp_path / f"{lost.index(key)}.jpg")
    open_run(tmp_path / "out").repair()
    once = files_of(tmp_path / "out")
    open_run(tmp_path / "out").repair()
    assert files_of(tmp_path / "out") == once


def test_a_cluster_that_has_no_other_shrinks(configure, gallery, tmp_path):
    reduce_set(configure(of=gallery, images="in_place", num_clusters=2, keep_ratio=1))
    lost = gallery.rows[0]["image"]
    (gallery.folder / "images" / lost).unlink()
    found = open_run(tmp_path / "out").repair()
    assert found == {
        "checked": 12,
        "copied_again": 0,
        "lost": 1,
        "replaced": 0,
        "without_stand_in": 1,
        "understudies_lost": 0,
    }
    assert len(annotations(tmp_path / "out/reduced/build")) == 11


def test_a_copy_outlives_its_source(configure, gallery, tmp_path):
    reduce_set(configure(of=gallery, images="export", num_clusters=2, keep_ratio=0.5))
    recipe = tmp_path / "out/reduced"
    first, second = sorted(kept_keys(recipe))[:2]
    shutil.rmtree(gallery.folder / "images")
    assert open_run(tmp_path / "out").repair()["lost"] == 0
    copy = next((recipe / "build/images").glob(f"*/{second}"))
    copy.unlink()
    # No understudy has a source any more either.
    found = open_run(tmp_path / "out").repair()
    assert (found["lost"], found["replaced"]) == (1, 0)
    assert found["understudies_lost"] > 0
    assert {row["key"] for row in annotations(recipe / "build")} == kept_keys(recipe)
    assert second not in kept_keys(recipe)
    assert all((recipe / "build/images" / row["image"]).is_file() for row in annotations(recipe / "build"))


def test_a_lost_copy_is_made_again_from_the_source(configure, gallery, tmp_path):
    reduce_set(configure(of=gallery, images="export", num_clusters=2, keep_ratio=0.5))
    before = files_of(tmp_path / "out")
    gone, rotten = sorted((tmp_path / "out/reduced/build/images").rglob("*.jpg"))[:2]
    gone.unlink()
    rotten.write_bytes(b"\xff\xd8 rotten")
    told = open_run(tmp_path / "out").repair(decode=True, dry_run=True)
    assert (told["copied_again"], told["lost"], gone.exists()) == (2, 0, False)
    assert open_run(tmp_path / "out").repair(decode=True) == told
    assert files_of(tmp_path / "out") == before


def test_rotten_images_are_found_by_decoding(in_place, gallery, tmp_path):
    lost = min(kept_keys(in_place))
    (gallery.folder / "images" / lost).write_bytes(b"\xff\xd8 rotten")
    assert open_run(tmp_path / "out").repair()["lost"] == 0
    assert open_run(tmp_path / "out").repair(decode=True)["lost"] == 1


def test_a_tar_packed_anew_has_lost_what_was_in_it(configure, pool, tmp_path):
    tars = tmp_path / "tars"
    shutil.copytree(pool.folder / "tars", tars)
    source = {"format": "webdataset", "tars": str(tars / "*.tar")}
    of = SimpleNamespace(source=source, captioner=pool.captioner)
    reduce_set(configure(of=of, images="in_place", keep_ratio=0.5))
    recipe = tmp_path / "out/reduced"
    shutil.copyfile(tars / "00001.tar", tars / "00000.tar")
    in_tar = {key for key in kept_keys(recipe) if key.startswith("00000")}
    found = open_run(tmp_path / "out").repair()
    assert found["lost"] == len(in_tar) > 0
    assert not [key for key in kept_keys(recipe) if key.startswith("00000")]
    assert found["replaced"] + found["without_stand_in"] == len(in_tar)


def test_a_reduction_after_a_repair_finds_all_done(in_place, gallery, configure, tmp_path):
    lost = min(kept_keys(in_place))
    (gallery.folder / "images" / lost).rename(tmp_path / "kept.jpg")
    open_run(tmp_path / "out").repair()
    before = files_of(tmp_path / "out")
    (tmp_path / "kept.jpg").rename(gallery.folder / "images" / lost)  # else encode asks for it
    config = tmp_path / "reduce.yaml"
    reduce_set(config)
    assert files_of(tmp_path / "out") == before
    # Another selection forgets the repair.
    reduce_set(config, "run.keep_ratio=0.25", "run.restart=select")
    assert not (in_place / "repaired.json").exists()
    assert all(row["reason"] != "dropped: image gone missing" for row in ledger_rows(in_place).values())


def test_a_restart_cut_short_leaves_no_repair_of_another_selection(in_place, gallery, tmp_path, monkeypatch):
    lost = min(kept_keys(in_place))
    (gallery.folder / "images" / lost).rename(tmp_path / "kept.jpg")
    open_run(tmp_path / "out").repair()
    (tmp_path / "kept.jpg").rename(gallery.folder / "images" / lost)
    config, restart, gone = tmp_path / "reduce.yaml", Stage.restart, []

    def cut_short(stage):
        if len(gone) == 2:
            raise RuntimeError("killed")
        gone.append(stage.name)
        restart(stage)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(Stage, "restart", cut_short)
        reduce_set(config, "run.keep_ratio=0.25", "run.restart=select")
    assert gone == ["build", "ledger"]
    with pytest.raises(ValueError, match=r"stage select.*\n.*keep_ratio.*\n.*--restart select"):
        reduce_set(config, "run.keep_ratio=0.25")


def test_command_line_says_what_it_did(in_place, gallery, tmp_path, capsys):
    lost = min(kept_keys(in_place))
    (gallery.folder / "images" / lost).unlink()
    assert cli.main(["repair", str(tmp_path / "out"), "--dry-run"]) == 0
    assert "would repair" in capsys.readouterr().out
    assert cli.main(["repair", str(tmp_path / "out")]) == 0
    assert "lost 1" in capsys.readouterr().out
    assert cli.main(["repair", str(tmp_path / "elsewhere")]) == 2
    assert "there is no run folder" in capsys.readouterr().err


def test_an_unfinished_reduction_or_another_captioner_is_refused(configure, gallery, tmp_path, pool):
    config = configure(of=gallery, images="in_place", num_clusters=2)
    reduce_set(config, "run.stages=[encode,cluster]")
    with pytest.raises(ValueError, match="holds no reduced set"):
        open_run(tmp_path / "out").repair()
    reduce_set(config, "run.stages=[select]")
    with pytest.raises(ValueError, match="is not finished: run `lavis-tldr reduce` first"):
        open_run(tmp_path / "out").repair()
    reduce_set(config)
    other = write_captioner(tmp_path, sorted(fact["true_caption"] for fact in pool.truth.values()), seed=1)
    with pytest.raises(ValueError, match="made by another captioner"):
        open_run(tmp_path / "out").repair(options=[f"model.finetuned={other}"])


def test_a_config_that_captions_otherwise_is_refused(configure, gallery, tmp_path):
    config = configure(of=gallery, images="in_place", num_clusters=2, keep_ratio=0.5)
    reduce_set(config)
    (gallery.folder / "images" / min(kept_keys(tmp_path / "out/reduced"))).rename(tmp_path / "lost.jpg")
    before = files_of(tmp_path / "out")
    with pytest.raises(ValueError, match=r"made otherwise than its config says now:\n.*recipe.*\n.*--options"):
        open_run(tmp_path / "out").repair(options=["run.recipe=generated"])
    assert files_of(tmp_path / "out") == before
    assert open_run(tmp_path / "out").repair()["replaced"] == 1
