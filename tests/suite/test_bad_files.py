"""Sets with a fault, through the command: each evaluation fails with a line that names it, and the next one goes on."""

import json

import official_sets
import pytest

from lavis_tldr import cli
from lavis_tldr.suite.command import evaluate

BOXES = {9: {31: [20, 5, 30, 40]}}
REFS = [{"image_id": 9, "ann_id": 31, "split": "val", "sentences": ["a kite"]}]


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "data"
    official_sets.lay_out_karpathy(root, {73: ["a cat"], 74: ["a dog"]}, "coco")
    official_sets.lay_out_refcoco(root, REFS, BOXES, {})
    official_sets.lay_out_msrvtt(root, {"video1": "a dog", "video2": "a cat"}, short="video2")
    official_sets.lay_out_class_folders(root / "imagenet-a", {"n01498041": 1})
    for name in ("coco", "refcoco+", "msrvtt"):
        assert cli.main(["data", "convert", name, "--data", str(root)]) == 0
    return root


def test_faults_are_named_one_by_one(root, tmp_path):
    (root / "coco" / "images" / "val2014" / "COCO_val2014_000000000074.jpg").unlink()
    (root / "imagenet-a" / "n01440764").mkdir()  # a tench, which is not among the 200
    rows = json.loads((root / "refcoco+" / "refcoco+_val.json").read_text())
    (root / "refcoco+" / "refcoco+_val.json").write_text(json.dumps(rows * 2))
    (root / "msrvtt" / "videos" / "video2.mp4").write_bytes(b"rotten")
    checkpoint = official_sets.write_vilt_checkpoint(tmp_path / "model", "vilt_pretrain")
    names = ["coco_retrieval", "imagenet_a", "refcoco_plus", "msrvtt"]
    options = ["run.num_workers=0", "run.batch_size_eval=2"]
    asked = {"data": root, "out": tmp_path / "out", "device": "cpu", "options": options}
    outcomes = {outcome.evaluation: outcome for outcome in evaluate(checkpoint, names=names, **asked)}
    assert [outcome.status for outcome in outcomes.values()] == ["failed", "failed", "failed", "done"]
    for name, said in (
        ("coco_retrieval", "COCO_val2014_000000000074.jpg"),
        ("imagenet_a", "n01440764, a class of another set"),
        ("refcoco_plus", "sentence 0 is there twice"),
    ):
        assert outcomes[name].told.startswith("ValueError: ") and said in outcomes[name].told
    # A video that can't be read is counted: its text has the last of two ranks.
    assert "MdR" in outcomes["msrvtt"].told
    (unreadable,) = (tmp_path / "out").rglob("unreadable_videos.json")
    assert list(json.loads(unreadable.read_text())) == ["video2.mp4"]


def test_a_missing_or_other_official_file_ends_the_conversion(root, capsys):
    (root / "msrvtt" / "MSRVTT_JSFUSION_test.csv").unlink()
    assert cli.main(["data", "convert", "msrvtt", "--data", str(root)]) == 2
    assert "MSRVTT_JSFUSION_test.csv is missing" in capsys.readouterr().err
    (root / "refcoco+" / "refs(unc).p").write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    assert cli.main(["data", "convert", "refcoco+", "--data", str(root)]) == 2
    assert "can't be read: it names posix.system" in capsys.readouterr().err
