"""NLVR2: official lines to LAVIS's lists, images that change places in training, and what is refused."""

import json
import random

import pytest
from drawn_questions import drawn_nlvr, nlvr_rows, write_list
from lavis.datasets.builders.classification_builder import NLVRBuilder as StockBuilder
from lavis.datasets.datasets.nlvr_datasets import NLVRDataset, NLVREvalDataset
from omegaconf import OmegaConf

from lavis_tldr.datasets.downstream.nlvr2 import NLVR2
from lavis_tldr.datasets.tldr_nlvr import NlvrBuilder, NlvrTraining

EXAMPLE = {
    **{"identifier": "dev-7-0-1", "sentence": "One dog.", "left_url": "u", "right_url": "v", "label": "True"},
    **{"writer": "9", "synset": "dog", "query": "dogs1", "validation": {"9": "True"}},
}
TRAIN = {**EXAMPLE, "identifier": "train-10171-2-0", "directory": 55, "label": "False"}
TEST = {**EXAMPLE, "identifier": "test1-0-1-0"}


def write_lines(folder, split: str, examples) -> None:
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / f"{split}.json").write_text("".join(json.dumps(example) + "\n" for example in examples))


def read(path):
    return json.loads(path.read_text())


# Conversion


def test_official_lines_become_lavis_lists(tmp_path):
    for split, example in {"train": TRAIN, "dev": EXAMPLE, "test1": TEST}.items():
        write_lines(tmp_path, split, [example])
    told = NLVR2.convert(tmp_path)
    assert read(tmp_path / "nlvr_dev.json") == [
        {
            "images": ["dev/dev-7-0-img0.png", "dev/dev-7-0-img1.png"],
            "sentence": "One dog.",
            "label": "True",
            "identifier": "dev-7-0-1",
        }
    ]
    (train,) = read(tmp_path / "nlvr_train.json")
    assert train["images"] == [f"images/train/55/train-10171-2-img{side}.png" for side in (0, 1)]
    assert told == [
        "nlvr_train.json: 1 examples of train, 0.0% true.",
        "nlvr_dev.json: 1 examples of dev, 100.0% true.",
        "nlvr_test.json: 1 examples of test1, 100.0% true.",
    ]


def test_test_is_not_dev(tmp_path):
    """In stock LAVIS's config it is: both of its splits are the file nlvr_dev.json."""
    stock = OmegaConf.load(StockBuilder.default_config_path()).datasets.nlvr.build_info.annotations
    assert stock.test.url == stock.val.url and stock.test.url.endswith("nlvr_dev.json")
    write_lines(tmp_path, "dev", [EXAMPLE])
    assert NLVR2.convert(tmp_path)[2] == "nlvr_test.json: not made, data/test1.json not there."
    write_lines(tmp_path, "test1", [TEST])
    NLVR2.convert(tmp_path)
    (test,) = read(tmp_path / "nlvr_test.json")
    assert test["images"] == ["test1/test1-0-1-img0.png", "test1/test1-0-1-img1.png"]
    write_lines(tmp_path, "test1", [EXAMPLE])
    with pytest.raises(ValueError, match="line 1 of .*test1.json has the identifier dev-7-0-1, which is none of test1"):
        NLVR2.convert(tmp_path)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([{**EXAMPLE, "label": True}], 'line 1 of .* has label: true; expected the text "True" or "False"'),
        ([EXAMPLE, EXAMPLE], "identifier dev-7-0-1 is there more than once"),
        ([{**EXAMPLE, "identifier": "dev-7-0"}], "expected a text split-set-pair-sentence"),
        ([[EXAMPLE]], "line 1 of .* expected an object with identifier, sentence, label"),
        ([], "dev.json is empty"),
    ],
)
def test_other_layouts_are_refused(tmp_path, examples, message):
    write_lines(tmp_path, "dev", examples)
    with pytest.raises(ValueError, match=message):
        NLVR2.convert(tmp_path)


def test_train_has_directories_and_files_are_lines(tmp_path):
    with pytest.raises(ValueError, match="has the file of no split of NLVR2"):
        NLVR2.convert(tmp_path)
    write_lines(tmp_path, "train", [{**TRAIN, "directory": "../x"}])
    with pytest.raises(ValueError, match="has directory: .*; expected the number of a folder"):
        NLVR2.convert(tmp_path)
    (tmp_path / "data" / "train.json").write_text("[\n")
    with pytest.raises(ValueError, match="line 1 of .* is no JSON"):
        NLVR2.convert(tmp_path)


# The dataset


def build(datasets: dict) -> dict:
    default = OmegaConf.load(NlvrBuilder.default_config_path()).datasets.tldr_nlvr
    return NlvrBuilder(OmegaConf.merge(default, datasets["tldr_nlvr"])).build_datasets()


def words_of(sample: dict) -> tuple:
    """Sentence, label and the images by their first pixel."""
    return (sample["text_input"], sample["label"], *(tuple(sample[f"image{n}"][:, 0, 0].tolist()) for n in (0, 1)))


def test_evaluation_is_lavis_own_with_identifiers(tmp_path):
    val = build(drawn_nlvr(tmp_path))["val"]
    stock = NLVREvalDataset(val.vis_processor, val.text_processor, str(tmp_path / "images"), [tmp_path / "nlvr.json"])
    assert [words_of(val[n]) for n in range(4)] == [words_of(stock[n]) for n in range(4)]
    assert [val[n]["instance_id"] for n in range(4)] == [row["identifier"] for row in nlvr_rows()]
    assert [words_of(val[0]) for _ in range(10)] == [words_of(val[0])] * 10  # never swapped


def test_half_of_the_trained_pairs_change_places(tmp_path):
    train = build(drawn_nlvr(tmp_path))["train"]
    random.seed(0)
    seen = [words_of(train[0]) for _ in range(100)]
    sentence, label, left, right = words_of(build(drawn_nlvr(tmp_path))["val"][0])
    swapped = ("the right one is red", label, right, left)
    assert set(seen) == {(sentence, label, left, right), swapped}
    assert 35 <= seen.count(swapped) <= 65  # three deviations


@pytest.mark.parametrize(
    ("sentence", "ours", "stock"),
    [
        ("the left dog", "the right dog", "the right dog"),
        ("leftover rice, right of it", "leftover rice, left of it", "rightover rice, left of it"),
        ("a bright room on the left", "a bright room on the right", "a bleft room on the right"),
        ("a dog", "a dog", "a dog"),
    ],
)
def test_whole_words_change_sides(monkeypatch, sentence, ours, stock):
    samples = {"image0": 0, "image1": 1, "text_input": sentence}
    monkeypatch.setattr(random, "random", lambda: 0.7)
    assert NlvrTraining._flip(dict(samples)) == {"image0": 1, "image1": 0, "text_input": ours}
    monkeypatch.setattr(random, "random", lambda: 0.2)
    assert NlvrTraining._flip(dict(samples)) == samples
    assert NLVRDataset._flip(dict(samples)) == {"image0": 1, "image1": 0, "text_input": stock}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": True}, "row 0 of .* has label: true"),
        ({"images": ["a.png"]}, "expected a list of two image paths"),
        ({"identifier": "dev-1-1-0"}, "identifier dev-1-1-0 is there more than once"),
        ({"identifier": None}, "has identifier: null; expected a text"),
    ],
)
def test_rows_of_another_layout_are_refused(tmp_path, change, message):
    datasets = drawn_nlvr(tmp_path, splits=["val"])
    rows = nlvr_rows()
    write_list(tmp_path / "nlvr.json", [{**rows[0], **change}, *rows[1:]])
    with pytest.raises(ValueError, match=message):
        build(datasets)


def test_a_missing_image_is_named(tmp_path):
    datasets = drawn_nlvr(tmp_path)
    (tmp_path / "images" / "green.png").unlink()
    with pytest.raises(ValueError, match="image red.png or green.png of tldr_nlvr can't be read: .*green.png"):
        build(datasets)["val"][2]
