"""Karpathy's files to LAVIS's lists, in the true schema; and LAVIS's own retrieval set reads them."""

import json

import pytest
from lavis.datasets.datasets.retrieval_datasets import RetrievalDataset, RetrievalEvalDataset
from lavis.processors.blip_processors import BlipCaptionProcessor

from lavis_tldr.datasets.downstream.coco import COCO
from lavis_tldr.datasets.downstream.flickr30k import FLICKR30K


def image(number: int, split: str, captions: int, **keys) -> dict:
    sentences = [
        {"raw": f"Caption {n} of {number}.", "tokens": [], "imgid": number, "sentid": n} for n in range(captions)
    ]
    row = {"filename": f"{number}.jpg", "split": split, "sentences": sentences, "imgid": number}
    return {**row, "sentids": list(range(captions)), **keys}


def coco_image(number: int, split: str, captions: int, filepath: str = "val2014") -> dict:
    name = f"COCO_{filepath}_{number:012d}.jpg"
    return image(number, split, captions, filepath=filepath, cocoid=number, filename=name)


def write(folder, name: str, images: list, **keys):
    (folder / f"dataset_{name}.json").write_text(json.dumps({"images": images, "dataset": name, **keys}))
    return folder


def read(path):
    return json.loads(path.read_text())


def test_coco(tmp_path):
    images = [
        coco_image(42, "restval", 2),
        coco_image(7, "train", 1, "train2014"),
        coco_image(73, "test", 6),
        coco_image(5, "val", 1),
    ]
    lines = COCO.convert(write(tmp_path, "coco", images))
    annotations = tmp_path / "annotations"
    image_42 = "val2014/COCO_val2014_000000000042.jpg"
    assert read(annotations / "coco_karpathy_train.json") == [
        {"image": image_42, "caption": "Caption 0 of 42.", "image_id": "coco_42"},
        {"image": image_42, "caption": "Caption 1 of 42.", "image_id": "coco_42"},
        {"image": "train2014/COCO_train2014_000000000007.jpg", "caption": "Caption 0 of 7.", "image_id": "coco_7"},
    ]
    (row,) = read(annotations / "coco_karpathy_test.json")
    assert row == {
        "image": "val2014/COCO_val2014_000000000073.jpg",
        "caption": [f"Caption {n} of 73." for n in range(6)],
    }
    # A single caption is a list as well: a string would be read letter by letter.
    assert read(annotations / "coco_karpathy_val.json")[0]["caption"] == ["Caption 0 of 5."]
    train = "annotations/coco_karpathy_train.json: 2 images, 3 captions (the published split has 113,287 images)"
    assert lines[0] == train
    assert [file.path for file in COCO.files if file.made] == [line.split(":")[0] for line in lines]


def test_flickr30k(tmp_path):
    images = [image(42, "train", 1), image(3, "val", 5), image(9, "test", 5), image(8, "test", 0)]
    lines = FLICKR30K.convert(write(tmp_path, "flickr30k", images))
    (row,) = read(tmp_path / "annotations/flickr30k_train.json")
    assert row == {"image": "flickr30k-images/42.jpg", "caption": "Caption 0 of 42.", "image_id": 42}
    assert "1 images, 5 captions; 1 images without caption left out" in lines[2]


def test_lavis_reads_the_lists(tmp_path):
    FLICKR30K.convert(write(tmp_path, "flickr30k", [image(4, "train", 2), image(6, "train", 1), image(9, "test", 3)]))
    text = BlipCaptionProcessor()
    train = RetrievalDataset(None, text, "", [str(tmp_path / "annotations/flickr30k_train.json")])
    assert train.img_ids == {4: 0, 6: 1} and len(train) == 3
    test = RetrievalEvalDataset(None, text, "", [str(tmp_path / "annotations/flickr30k_test.json")])
    assert test.img2txt == {0: [0, 1, 2]} and test.text[1] == "caption 1 of 9"


def test_published_counts_are_not_remarked(tmp_path):
    images = [image(number, "test", 1) for number in range(1000)]
    assert FLICKR30K.convert(write(tmp_path, "flickr30k", images))[2].endswith("1,000 images, 1,000 captions")


@pytest.mark.parametrize(
    ("images", "keys", "said"),
    [
        ([image(1, "test", 1)] * 2, {}, "has flickr30k-images/1.jpg twice"),
        ([image(1, "dev", 1)], {}, "image 0 of .* is in the split 'dev'"),
        ([{"filename": "1.jpg", "split": "test"}], {}, "image 0 of .* lacks 'sentences'"),
        ([], {"dataset": "flickr8k"}, "is of the set 'flickr8k'; expected Karpathy's of 'flickr30k'"),
        ({}, {}, "with a list of images"),
    ],
)
def test_other_layouts_are_refused(tmp_path, images, keys, said):
    with pytest.raises(ValueError, match=said):
        FLICKR30K.convert(write(tmp_path, "flickr30k", images, **keys))
    assert not (tmp_path / "annotations").exists()


def test_no_file_and_no_json(tmp_path):
    with pytest.raises(ValueError, match="there is no .*dataset_coco.json"):
        COCO.convert(tmp_path)
    (tmp_path / "dataset_coco.json").write_text("<html>")
    with pytest.raises(ValueError, match="is no JSON"):
        COCO.convert(tmp_path)
