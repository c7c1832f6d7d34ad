"""Images with several captions each, as LAVIS's retrieval tasks want them."""

import json

import pytest
import torch
from lavis.common.registry import registry
from lavis.datasets.datasets.retrieval_datasets import RetrievalEvalDataset
from omegaconf import OmegaConf

from lavis_tldr.datasets.tldr_retrieval import RetrievalImagesBuilder


def build(source, split="val", **changes):
    cfg = OmegaConf.load(RetrievalImagesBuilder.DATASET_CONFIG_DICT["default"]).datasets.tldr_retrieval
    given = {"vis_processor": {"eval": {"image_size": 16}}, split: source}
    return RetrievalImagesBuilder(OmegaConf.merge(cfg, given, changes)).build_datasets()


def test_registered():
    assert registry.get_builder_class("tldr_retrieval") is RetrievalImagesBuilder


def test_captions_and_images_know_each_other(album):
    (split,) = build(album.source, "test")
    dataset = build(album.source)["val"]
    assert split == "test"
    captions = {row["image"]: row["caption"] for row in album.rows}
    assert dataset.image == sorted(captions)
    assert len(dataset.text) == sum(map(len, captions.values()))
    for number, key in enumerate(dataset.image):
        own = [dataset.text[text] for text in dataset.img2txt[number]]
        assert own == [caption.lower().rstrip(".") for caption in captions[key]]
        assert {dataset.txt2img[text] for text in dataset.img2txt[number]} == {number}


def test_a_caption_alone_is_no_list_of_letters(tmp_path, encoded):
    """As LAVIS would read it."""
    (tmp_path / "0.jpg").write_bytes(encoded((9, 9, 9), size=(16, 16)))
    (tmp_path / "test.json").write_text(json.dumps([{"image": "0.jpg", "caption": "A cat"}]))
    source = {"format": "lavis_json", "annotations": str(tmp_path / "test.json"), "image_root": str(tmp_path)}
    assert build(source)["val"].text == ["a cat"]
    stock = RetrievalEvalDataset(None, str, str(tmp_path), [str(tmp_path / "test.json")])
    assert stock.text == ["A", " ", "c", "a", "t"]


def test_a_sample_is_an_image_and_its_place(album):
    dataset = build(album.source)["val"]
    batch = dataset.collater([dataset[0], dataset[2]])
    assert batch["image"].shape == (2, 3, 16, 16)
    assert batch["index"].tolist() == [0, 2]


def test_an_image_that_is_not_there_ends_the_evaluation(album, tmp_path):
    rows = [{"image": "gone.jpg", "caption": ["a"]}]
    (tmp_path / "dev.json").write_text(json.dumps(rows))
    source = {"format": "lavis_json", "annotations": str(tmp_path / "dev.json"), "image_root": str(tmp_path)}
    with pytest.raises(ValueError, match=r"1 of 1 records .*gone.jpg.*must be whole"):
        build(source)
    (tmp_path / "gone.jpg").write_bytes(b"rotten")
    dataset = build(source)["val"]
    with pytest.raises(ValueError, match=r"image gone.jpg can't be read.*Restore"):
        dataset[0]


def test_features_must_be_of_all_images(album):
    class Features(dict):
        def missing(self, keys):
            return [key for key in keys if key not in self]

    dataset = build(album.source)["val"]
    features = Features({key: torch.full((2, 3), number).numpy() for number, key in enumerate(dataset.image)})
    dataset.use_features(features)
    assert dataset[1]["image_features"].tolist() == [[1.0] * 3] * 2
    del features[dataset.image[-1]]
    with pytest.raises(ValueError, match="1 images can't be read"):
        build(album.source)["val"].use_features(features)


def test_a_set_without_a_source_is_refused():
    cfg = OmegaConf.load(RetrievalImagesBuilder.DATASET_CONFIG_DICT["default"]).datasets.tldr_retrieval
    with pytest.raises(ValueError, match="names no source"):
        RetrievalImagesBuilder(cfg).build_datasets()
