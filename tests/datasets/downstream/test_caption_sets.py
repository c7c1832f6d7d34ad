"""COCO's captions and NoCaps: official files to the lists that LAVIS and its scoring read."""

import json

import pytest
from lavis.datasets.datasets.coco_caption_datasets import NoCapsEvalDataset
from pycocotools.coco import COCO

from lavis_tldr.datasets.captioning_lists import read_evaluation, read_training
from lavis_tldr.datasets.downstream.coco_caption import COCO_CAPTION
from lavis_tldr.datasets.downstream.nocaps import NOCAPS


def karpathy(number: int, split: str, captions: list[str], filepath: str = "val2014") -> dict:
    return {
        "filepath": filepath,
        "filename": f"COCO_{filepath}_{number:012d}.jpg",
        "split": split,
        "cocoid": number,
        "imgid": number % 7,
        "sentids": list(range(len(captions))),
        "sentences": [{"raw": text, "tokens": text.split(), "imgid": 0, "sentid": 0} for text in captions],
    }


@pytest.fixture
def coco(tmp_path):
    images = [
        karpathy(42, "restval", ["A dog.", "a brown dog"]),
        karpathy(9, "train", ["A man"], "train2014"),
        karpathy(73, "test", ["The cat sat.", "a cat"]),
        karpathy(74, "val", ["Kites"]),
    ]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    return tmp_path


def nocaps_content() -> dict:
    domains = ["in-domain", "in-domain", "out-domain"]
    return {
        "images": [
            {"id": n, "open_images_id": f"00{n}a", "domain": domain, "file_name": f"00{n}a.jpg"}
            for n, domain in enumerate(domains)
        ],
        "annotations": [{"id": 10 * n + k, "image_id": n, "caption": f"{n} {k}"} for n in range(3) for k in range(2)],
    }


def test_coco_is_converted(coco):
    told = COCO_CAPTION.convert(coco)
    pairs = read_training(coco / "coco_karpathy_train.json")
    assert [(pair.image[:9], pair.caption) for pair in pairs] == [
        ("val2014/C", "A dog."),
        ("val2014/C", "a brown dog"),
        ("train2014", "A man"),
    ]
    rows = json.loads((coco / "coco_karpathy_train.json").read_text())
    assert rows[0] == {"image": "val2014/COCO_val2014_000000000042.jpg", "caption": "A dog.", "image_id": "coco_42"}
    listed = read_evaluation(coco / "coco_karpathy_test.json", coco / "coco_karpathy_test_gt.json")
    assert listed.ids == [73] and listed.references == {73: ["The cat sat.", "a cat"]}
    assert read_evaluation(coco / "coco_karpathy_test.json", None).references == listed.references
    assert "coco_karpathy_train.json: 3 captions." in told
    assert told[0].startswith("dataset_coco.json: train 1, restval 1, val 1, test 1 images")


def test_the_ground_truth_is_as_pycocotools_reads_it(coco):
    COCO_CAPTION.convert(coco)
    truth = COCO(str(coco / "coco_karpathy_test_gt.json"))
    assert truth.getImgIds() == [73]
    assert [row["caption"] for row in truth.imgToAnns[73]] == ["The cat sat.", "a cat"]


def test_nocaps_is_converted(tmp_path):
    (tmp_path / "nocaps_val_4500_captions.json").write_text(json.dumps(nocaps_content()))
    assert NOCAPS.convert(tmp_path) == ["nocaps_val.json: 3 images (in-domain 2, near-domain 0, out-domain 1)."]
    rows = json.loads((tmp_path / "nocaps_val.json").read_text())
    assert rows[2] == {"image": "val/002a.jpg", "img_id": 2, "caption": ["2 0", "2 1"], "domain": "out-domain"}
    listed = read_evaluation(tmp_path / "nocaps_val.json", None)
    assert listed.ids == [0, 1, 2] and listed.domains[2] == "out-domain"
    # LAVIS's own list has no captions; the official file then gives them.
    bare = tmp_path / "lavis.json"
    bare.write_text(json.dumps([{"image": row["image"], "img_id": row["img_id"]} for row in rows]))
    assert read_evaluation(bare, tmp_path / "nocaps_val_4500_captions.json") == listed
    # and LAVIS reads ours
    stock = NoCapsEvalDataset(None, None, str(tmp_path), [str(tmp_path / "nocaps_val.json")])
    assert [row["img_id"] for row in stock.annotation] == [0, 1, 2]


def test_files_are_named():
    made = {file.path for file in COCO_CAPTION.files if file.made}
    assert made == {f"coco_karpathy_{s}.json" for s in ("train", "val", "test")} | {
        f"coco_karpathy_{s}_gt.json" for s in ("val", "test")
    }
    assert [file.path for file in NOCAPS.files if file.made] == ["nocaps_val.json"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content.clear(), "is of the set None"),
        (lambda content: content["images"][1].pop("split"), "image 1 of .* lacks 'split'"),
        (lambda content: content["images"][1].update(split="trian"), "in the split 'trian' .*train"),
        (lambda content: content["images"][1].update(sentences=[]), "has no captions"),
        (lambda content: content["images"][1].pop("filepath"), "lacks 'filepath'"),
        (lambda content: content.update(dataset="flickr30k"), "is of the set 'flickr30k'"),
        (lambda content: content["images"].append(content["images"][0]), "has val2014/.* twice"),
        (lambda content: content["images"].pop(2), "no image of the split test"),
    ],
)
def test_another_layout_of_coco_is_told(coco, change, told):
    content = json.loads((coco / "dataset_coco.json").read_text())
    change(content)
    (coco / "dataset_coco.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=told):
        COCO_CAPTION.convert(coco)
    assert not list(coco.glob("coco_karpathy_*"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content["images"][1].pop("domain"), "image 1 of .* has the domain None"),
        (lambda content: content["images"][1].update(domain="indomain"), "has the domain 'indomain'"),
        (lambda content: content["images"][1].update(id=0), "has image 0 twice"),
        (lambda content: content["annotations"].__delitem__(slice(2, 4)), r"1 images have no caption \(first: 1"),
        (lambda content: content["annotations"][0].update(image_id=8), "a caption of image 8"),
        (lambda content: content.pop("annotations"), "no ground truth in COCO's format"),
    ],
)
def test_another_layout_of_nocaps_is_told(tmp_path, change, told):
    content = nocaps_content()
    change(content)
    (tmp_path / "nocaps_val_4500_captions.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=told):
        NOCAPS.convert(tmp_path)


def test_absent_and_cut_off_files_are_told(tmp_path):
    with pytest.raises(ValueError, match="there is no .*dataset_coco.json"):
        COCO_CAPTION.convert(tmp_path)
    (tmp_path / "dataset_coco.json").write_text('{"images": [')
    with pytest.raises(ValueError, match="is no JSON .*downloaded whole"):
        COCO_CAPTION.convert(tmp_path)
