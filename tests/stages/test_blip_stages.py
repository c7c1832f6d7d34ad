"""Pairs scored and images clustered by BLIP, as stages of a reduction."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from reductions import ledger_rows
from tiny_blip import register_tiny, write_tiny

from lavis_tldr.api import open_run
from lavis_tldr.datasets import source_parts
from lavis_tldr.scoring.blip_matching import load_blip
from lavis_tldr.sources import ImageLocation, decode_image, read_image_bytes


@pytest.fixture
def blip(tmp_path, monkeypatch):
    """Config keys of a tiny BLIP, and the same loaded."""
    register_tiny(tmp_path, monkeypatch)
    write_tiny(tmp_path / "blip.pth")
    return {"blip_weights": str(tmp_path / "blip.pth"), "blip_model_type": "tiny"}


def rows_of(folder):
    rows = [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return {row["key"]: row for row in rows}


def usable(run):
    return {key: row for key, row in rows_of(run / "encode").items() if not row["error"]}


def pixels(row, processor):
    place = ImageLocation(row["image_path"], row["image_offset"], row["image_size"])
    return processor(decode_image(read_image_bytes(place)))[None]


@pytest.mark.parametrize("alignment", ["itm", "itc"])
def test_every_pair_is_scored(reduced, blip, tmp_path, alignment):
    reduced(task="tldr_score", alignment=alignment, batch_size_eval=5, **blip)
    model = load_blip(blip["blip_weights"], "tiny")
    score = {"itm": model.match, "itc": model.similarity}[alignment]
    found, pairs = rows_of(tmp_path / "out/score" / alignment), usable(tmp_path / "out")
    assert set(found) == set(pairs)
    for key in list(pairs)[::6]:
        with torch.no_grad():
            expected = score(pixels(pairs[key], model.vis_processor), [pairs[key]["caption_original"]]).item()
        assert found[key][alignment] == pytest.approx(expected, abs=1e-5)
    assert len({round(row[alignment], 6) for row in found.values()}) > 30


@pytest.fixture
def lose(monkeypatch):
    """Let the image at a path be gone from now on."""

    def lose(path):
        def read(place):
            if place.path == path:
                raise FileNotFoundError(path)
            return read_image_bytes(place)

        monkeypatch.setattr(source_parts, "read_image_bytes", read)

    return lose


def test_an_image_that_is_gone_has_no_score(reduced, album, blip, lose, tmp_path, caplog):
    keys = {"of": album, "task": "tldr_score", "alignment": "itm", **blip}
    reduced(**keys, stages=["encode"])
    pairs = usable(tmp_path / "out")
    gone = next(iter(pairs.values()))["image_path"]
    lose(gone)
    reduced(**keys)
    scores = {key: row["itm"] for key, row in rows_of(tmp_path / "out/score/itm").items()}
    assert set(scores) == set(pairs)
    assert {key for key in scores if np.isnan(scores[key])} == {
        key for key in pairs if pairs[key]["image_path"] == gone
    }
    assert f"{gone}: {gone}; BLIP gives no value for it" in caplog.text  # the reason is the stand-in's
    told = (tmp_path / "out/unreadable.tsv").read_text().splitlines()
    assert told == ["key\treason", f"{gone}\t{gone}"]


def test_an_image_that_is_gone_can_not_be_clustered(reduced, album, blip, lose, tmp_path):
    keys = {"of": album, "representation": "blip", **blip}
    reduced(**keys, stages=["encode"])
    lose(next(iter(usable(tmp_path / "out").values()))["image_path"])
    with pytest.raises(ValueError, match=r"3 images can't be read any more.*`--restart encode`"):
        reduced(**keys, stages=["cluster"])


def test_images_are_clustered_by_their_features(reduced, blip, tmp_path):
    reduced(stages=["encode", "cluster"], representation="blip", batch_size_eval=7, **blip)
    model = load_blip(blip["blip_weights"], "tiny")
    folder = tmp_path / "out/cluster/blip-4-seed42"
    centroids, found = np.load(folder / "centroids.npy"), rows_of(folder)
    pairs = usable(tmp_path / "out")
    assert set(found) == set(pairs)
    for key, row in pairs.items():
        feature = model.embed_images(pixels(row, model.vis_processor))[0].numpy()
        distances = ((centroids - feature) ** 2).sum(1)
        assert found[key]["distance"] == pytest.approx(distances.min(), abs=1e-5)
        assert distances[found[key]["cluster"]] == pytest.approx(distances.min(), abs=1e-6)


def test_a_selection_by_matches(reduced, blip, tmp_path):
    reduced(selection="aligned", alignment="itm", keep_ratio=0.5, **blip)
    rows = [row for row in ledger_rows(tmp_path / "out/reduced").values() if row["cluster"] >= 0]
    for cluster in {row["cluster"] for row in rows}:
        members = [row for row in rows if row["cluster"] == cluster]
        kept = [row["alignment"] for row in members if row["kept"]]
        assert min(kept) >= max([row["alignment"] for row in members if not row["kept"]], default=0)  # of 0 to 1


def test_other_weights_are_another_scoring(reduced, blip, tmp_path):
    keys = {"task": "tldr_score", "alignment": "itc"}
    reduced(**keys, **blip)
    write_tiny(tmp_path / "other.pth", seed=1)
    with pytest.raises(ValueError, match=r"made otherwise.*\n.*blip"):
        reduced(**keys, **blip | {"blip_weights": str(tmp_path / "other.pth")})


def test_other_weights_score_no_captions_of_stand_ins(reduced, blip, tmp_path):
    reduced(recipe="gated", alignment="itm", keep_ratio=0.5, images="in_place", **blip)
    assert open_run(tmp_path / "out").repair()["lost"] == 0
    write_tiny(tmp_path / "other.pth", seed=1)
    with pytest.raises(ValueError, match="scored by another blip than run.blip_weights names now"):
        open_run(tmp_path / "out").repair(options=[f"run.blip_weights={tmp_path / 'other.pth'}"])


def test_weights_that_are_missing_are_named_before_anything_is_read(reduced, blip, tmp_path):
    for keys, message in (
        ({"alignment": "itm", "task": "tldr_score"}, "run.alignment itm scores by BLIP: set run.blip_weights"),
        ({"representation": "blip"}, "run.representation blip clusters by BLIP: set run.blip_weights"),
        ({"representation": "blip", "blip_weights": "no/such.pth"}, "there is no file no/such.pth"),
    ):
        with pytest.raises(ValueError, match=message):
            reduced(**keys)
        assert not (tmp_path / "out/encode").exists()
