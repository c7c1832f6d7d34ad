"""RefCOCO+ from its official files: 3 boxes in an image, one of no expression; proposals; a pickle that runs."""

import base64
import json
import os
import pickle
from pathlib import Path

import pytest

from lavis_tldr.datasets.downstream.plain_pickle import read_plain_pickle
from lavis_tldr.datasets.downstream.refcoco import REFCOCO_PLUS, convert

# Written by Python 2 (protocol 2): a ref with two sentences, "café" as bytes in one and as unicode in the other.
PYTHON_2 = base64.b64decode(
    "gAJdcQF9cQIoVQhpbWFnZV9pZHEDSwlVCHNlbnRfaWRzcQRdcQUoSwdLCGVVCXNlbnRlbmNlc3EGXXEHKH1xCChVBnRva2Vuc3EJXXEKKFUDbWFu"
    "cQtVAmlucQxVA3JlZHENZVUDcmF3cQ5VCk1hbiBpbiByZWRxD1UHc2VudF9pZHEQSwdVBHNlbnRxEVUKbWFuIGluIHJlZHESdX1xEyhoCV1xFChY"
    "BQAAAGNhZsOpcRVVA2d1eXEWZWgOVQljYWbDqSBndXlxF2gQSwhoEVgJAAAAY2Fmw6kgZ3V5cRh1ZVUFc3BsaXRxGVUFdGVzdEFxGlUJZmlsZV9u"
    "YW1lcRtVIUNPQ09fdHJhaW4yMDE0XzAwMDAwMDAwMDAwOV8zLmpwZ3EcVQtjYXRlZ29yeV9pZHEdSwFVBmFubl9pZHEeSx9VBnJlZl9pZHEfSwV1"
    "YS4="
)
BOXES = {30: [0, 0, 10, 10], 31: [20, 5, 30, 40], 32: [25, 5, 30, 40]}
INSTANCES = {
    "images": [{"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "height": 50, "width": 100}],
    "annotations": [{"id": number, "image_id": 9, "category_id": 1, "bbox": box} for number, box in BOXES.items()],
    "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
}


@pytest.fixture
def official(tmp_path):
    (tmp_path / "refs(unc).p").write_bytes(PYTHON_2)
    (tmp_path / "instances.json").write_text(json.dumps(INSTANCES))
    return tmp_path


def rows(folder: Path, split="testA"):
    return json.loads((folder / f"refcoco+_{split}.json").read_text(encoding="utf-8"))


def change_refs(folder: Path, *refs) -> None:
    (folder / "refs(unc).p").write_bytes(pickle.dumps(list(refs)))


def ref(**changes) -> dict:
    sentences = [{"sent_id": changes.pop("sent_id", 1), "sent": "dog", "raw": "Dog", "tokens": ["dog"]}]
    plain = {"ref_id": 1, "ann_id": 31, "image_id": 9, "split": "val", "sentences": sentences, "file_name": "x.jpg"}
    return {**plain, **changes}


def test_a_row_a_sentence_with_all_boxes_of_the_image(official):
    told = convert(official)
    assert [row["text"] for row in rows(official)] == ["man in red", "café guy"]
    for row in rows(official):
        assert row["image"] == "train2014/COCO_train2014_000000000009.jpg"
        assert (row["image_id"], row["ref_id"]) == (9, 5)
        assert row["boxes"] == list(BOXES.values())
        assert row["boxes"][row["target"]] == BOXES[31]
        assert "proposals" not in row
    assert [row["sent_id"] for row in rows(official)] == [7, 8]
    assert rows(official, "testB") == rows(official, "val") == rows(official, "train") == []
    assert told[2].startswith("refcoco+_testA.json: 2 sentences of 1 objects in 1 images; without proposals")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dets.json", {"9": [[1, 2, 3, 4, 0.9], [5, 6, 7, 8, 0.8]]}),
        (
            "res101_coco_minus_refer_notime_dets.json",
            [{"image_id": 9, "box": [1, 2, 3, 4], "score": 0.9}, {"image_id": 9, "box": [5, 6, 7, 8], "score": 0.8}],
        ),
    ],
)
def test_proposals_in_either_layout(official, name, content):
    (official / name).write_text(json.dumps(content))
    convert(official)
    assert [row["proposals"] for row in rows(official)] == [[[1, 2, 3, 4], [5, 6, 7, 8]]] * 2


def test_an_image_without_proposals_is_told(official):
    (official / "dets.json").write_text('{"10": [[1, 2, 3, 4]]}')
    assert "1 images have no proposal" in convert(official)[2]
    assert rows(official)[0]["proposals"] == []


class Runs:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_names_a_class_is_refused_and_runs_nothing(official, monkeypatch, protocol):
    monkeypatch.chdir(official)
    (official / "refs(unc).p").write_bytes(pickle.dumps([Runs()], protocol=protocol))
    with pytest.raises(ValueError, match=r"refs\(unc\).p can't be read: it names (posix|nt|os).mkdir"):
        convert(official)
    assert not (official / "ran").exists()


def test_latin_1_is_read_where_utf_8_is_not(tmp_path):
    path = tmp_path / "latin.p"
    path.write_bytes(b"U\x04caf\xe9.")  # SHORT_BINSTRING, as Python 2 writes a str
    assert read_plain_pickle(path) == "café"


def test_a_broken_pickle_is_an_error(official):
    (official / "refs(unc).p").write_bytes(PYTHON_2[:100])
    with pytest.raises(ValueError, match="can't be read"):
        convert(official)


@pytest.mark.parametrize(
    ("refs", "message"),
    [
        ([ref(split="test")], "split 'test'; expected train, val, testA, testB"),
        ([ref(ann_id=77)], "object 77 of image 9, which instances.json lacks"),
        ([ref(image_id=77)], "object 31 of image 77"),
        ([ref(), ref(ref_id=2)], "sentence 1 is there twice"),
        ([{"ref_id": 1}], "lacks 'split'"),
        ([["a"]], "no list of refs"),
    ],
)
def test_other_refs_are_refused(official, refs, message):
    change_refs(official, *refs)
    with pytest.raises(ValueError, match=message):
        convert(official)


def test_other_files_are_refused(official):
    (official / "dets.json").write_text("[[1, 2, 3, 4]]")
    with pytest.raises(ValueError, match="dets.json is of another layout"):
        convert(official)
    (official / "instances.json").write_text("[]")
    with pytest.raises(ValueError, match="instances.json is of another layout"):
        convert(official)
    (official / "instances.json").unlink()
    with pytest.raises(ValueError, match="instances.json is missing"):
        convert(official)


def test_what_is_made_is_listed(official):
    convert(official)
    made = {file.path for file in REFCOCO_PLUS.files if file.made}
    assert made == {path.name for path in official.glob("refcoco+_*.json")}
