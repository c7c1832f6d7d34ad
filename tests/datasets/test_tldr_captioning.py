"""LAVIS's captioning lists: ids, references and domains, and what is wrong with a list."""

import json

import pytest
from omegaconf import OmegaConf
from PIL import Image

from lavis_tldr.datasets.captioning_lists import read_evaluation, read_training
from lavis_tldr.datasets.tldr_captioning import CaptioningBuilder

COCO = "val2014/COCO_val2014_{:012d}.jpg"


@pytest.fixture
def write(tmp_path):
    def make(content, name="list.json"):
        (tmp_path / name).write_text(json.dumps(content))
        return tmp_path / name

    return make


def row(number: int, **keys) -> dict:
    return {"image": COCO.format(number), "caption": [f"number {number}"], **keys}


def test_ids_are_given_or_cocos_or_the_paths(write):
    assert read_evaluation(write([row(73), row(9)]), None).ids == [73, 9]
    assert read_evaluation(write([row(73, img_id=5), row(9, img_id=6)]), None).ids == [5, 6]
    assert read_evaluation(write([row(73, image_id=5), row(9, image_id=6)]), None).ids == [5, 6]
    # What LAVIS makes of such names: strip(".jpg") takes letters off, and int() dies.
    paths = ["dev/3563461991_de05537878.jpg", "dev/1_2.png"]
    listed = read_evaluation(write([{"image": path, "caption": "x"} for path in paths]), None)
    assert listed.ids == paths and listed.references == {path: ["x"] for path in paths}
    assert read_evaluation(write([row(73, image_id="coco_73")]), None).ids == [73]


def test_training_takes_a_pair_a_caption(write):
    rows = [{"image": "a.jpg", "caption": "one"}, {"image": "a.jpg", "caption": ["two", "three"]}]
    assert [pair.caption for pair in read_training(write(rows))] == ["one", "two", "three"]
    with pytest.raises(ValueError, match="1 of 2 rows .* have no caption"):
        read_training(write([*rows[:1], {"image": "b.jpg"}]))


def test_references_and_domains_are_of_all_or_of_none(write):
    listed = read_evaluation(write([row(1, domain="x"), row(2, domain="y")]), None)
    assert listed.domains == {1: "x", 2: "y"}
    assert read_evaluation(write([{"image": COCO.format(1)}]), None).references is None
    with pytest.raises(ValueError, match="1 of 2 images .* lack a domain"):
        read_evaluation(write([row(1, domain="x"), row(2)]), None)
    with pytest.raises(ValueError, match="1 of 2 images .* lack captions"):
        read_evaluation(write([row(1), {"image": COCO.format(2)}]), None)


def test_ground_truth_is_of_the_same_images(write):
    truth = {
        "images": [{"id": 1, "domain": "x"}, {"id": 2, "domain": "y"}],
        "annotations": [{"id": 5, "image_id": i, "caption": f"truth {i}"} for i in (1, 2)],
    }
    path = write(truth, "gt.json")
    listed = read_evaluation(write([row(1), row(2)]), path)
    assert listed.references == {1: ["truth 1"], 2: ["truth 2"]} and listed.domains == {1: "x", 2: "y"}
    with pytest.raises(ValueError, match=r"gt.json lacks 1 images of .*list.json \(first: 3"):
        read_evaluation(write([row(1), row(2), row(3)]), path)
    with pytest.raises(ValueError, match=r"list.json lacks 1 images of .*gt.json \(first: 2"):
        read_evaluation(write([row(1)]), path)
    with pytest.raises(ValueError, match="no ground truth in COCO's format"):
        read_evaluation(write([row(1)]), write([row(1)], "other.json"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"images": []}, "is no list of rows"),
        ([], "is no list of rows"),
        (["a.jpg"], "row 0 .* expected an object with an image path"),
        ([row(7), row(7)], r"1 images come more than once .*first: 7 \(2 times"),
        ([{"image": "a.jpg", "caption": [3]}], "expected a text or a list of texts"),
    ],
)
def test_lists_of_another_layout_are_told(write, content, told):
    with pytest.raises(ValueError, match=told):
        read_evaluation(write(content), None)


def build(**config):
    image = {"name": "blip_image_eval", "image_size": 32}
    builder = CaptioningBuilder(OmegaConf.load(CaptioningBuilder.default_config_path()).datasets.tldr_captioning)
    builder.config = OmegaConf.merge(builder.config, {"vis_processor": {"train": image, "eval": image}, **config})
    return builder.build()


def test_samples(write, tmp_path):
    for name in ("a", "b"):
        Image.new("RGB", (10, 20)).save(tmp_path / f"{name}.png")
    path = str(write([{"image": "a.png", "caption": ["A cat."]}, {"image": "b.png", "caption": ["Dogs!", "dogs run"]}]))
    split = {"annotations": path, "image_root": str(tmp_path)}
    built = build(train=split, val=split)
    assert [built["train"][i]["text_input"] for i in range(3)] == [
        "a picture of a cat",
        "a picture of dogs",
        "a picture of dogs run",
    ]
    assert len(built["val"]) == 2 and set(built["val"][1]) == {"image", "index"}
    assert built["val"].listed.references == {"a.png": ["A cat."], "b.png": ["Dogs!", "dogs run"]}
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="b.png can't be read"):
        built["val"][1]
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"1 of 2 images .* \(first: a.png\): put them there, or mend image_root"):
        build(val=split)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, "names no list"),
        ({"vall": {"annotations": "x"}}, "unknown key datasets.tldr_captioning.vall .*val"),
        ({"val": {"annotation": "x"}}, "unknown key datasets.tldr_captioning.val.annotation .*annotations"),
        ({"val": {"annotations": "x"}}, "has no image_root"),
        ({"val": {"annotations": "/none.json", "image_root": "/"}}, "there is no /none.json"),
        ({"train": {"annotations": "x", "image_root": "/", "ground_truth": "y"}}, "leave it out"),
    ],
)
def test_wrong_configs_are_told(config, told):
    with pytest.raises(ValueError, match=told):
        build(**config)
