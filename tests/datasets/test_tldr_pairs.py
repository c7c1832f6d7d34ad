"""A whole source, or a random share of it, as a training set that any runner takes."""

import json
import shutil

import pytest
import torch
from lavis.common.registry import registry
from omegaconf import OmegaConf

from lavis_tldr.datasets.tldr_pairs import SourcePairsBuilder


def build(source, **changes):
    cfg = OmegaConf.load(SourcePairsBuilder.DATASET_CONFIG_DICT["default"]).datasets.tldr_pairs
    sizes = {"vis_processor": {split: {"image_size": 16} for split in ("train", "eval")}, "source": source}
    return SourcePairsBuilder(OmegaConf.merge(cfg, sizes, changes)).build_datasets()["train"]


@pytest.fixture
def tars(tmp_path):
    """20 pairs in two tars."""
    from lavis_tldr.scenes import draw_scenes

    draw_scenes(tmp_path / "pool", num_samples=20, image_size=32, part_size=10)
    return {"format": "webdataset", "tars": str(tmp_path / "pool" / "*.tar")}


def keys(dataset):
    return [key for key, _, _ in dataset.items]


def test_registered():
    assert registry.get_builder_class("tldr_pairs") is SourcePairsBuilder


def test_every_usable_pair_of_the_tars_is_a_sample(tars):
    train = build(tars)
    batch = train.collater([train[index] for index in range(len(train))])
    assert batch["image"].shape == (len(train), 3, 16, 16)
    assert len(set(keys(train))) == len(train) == len(batch["text_input"])
    assert all(isinstance(caption, str) and caption for caption in batch["text_input"])


def test_an_album_of_several_captions_an_image_has_a_sample_for_each(album):
    train = build(album.source)
    assert len(train) == sum(len(row["caption"]) for row in album.rows)
    told = [train[index]["captions"] for index in range(len(train))]
    assert all(len(captions) == 1 for captions in told)


def test_a_share_is_drawn_by_its_seed_and_not_by_the_order_of_files(tars, tmp_path):
    whole = keys(build(tars))
    quarter = keys(build(tars, share=0.25))
    assert len(quarter) == round(len(whole) / 4) and set(quarter) < set(whole)
    assert quarter == keys(build(tars, share=0.25)) == sorted(quarter)
    assert quarter != keys(build(tars, share=0.25, share_seed=1))
    other = tmp_path / "renamed"
    other.mkdir()
    for number, path in enumerate(sorted((tmp_path / "pool").glob("*.tar"), reverse=True)):
        shutil.copy(path, other / f"{number}.tar")
    assert quarter == keys(build({**tars, "tars": str(other / "*.tar")}, share=0.25))


@pytest.mark.parametrize("share", [0, 1.5])
def test_a_share_out_of_range_is_refused(tars, share):
    with pytest.raises(ValueError, match=r"tldr_pairs.share is .*\(0, 1\]"):
        build(tars, share=share)


def test_a_typing_error_is_named(tars):
    with pytest.raises(ValueError, match="shares.*share"):
        build(tars, shares=0.5)


def test_a_source_without_a_pair_is_refused(tmp_path):
    (tmp_path / "none.json").write_text(json.dumps([{"image": "a.jpg", "caption": ""}]))
    source = {"format": "lavis_json", "annotations": str(tmp_path / "none.json"), "image_root": str(tmp_path)}
    with pytest.raises(ValueError, match="no usable pair"):
        build(source)


def test_stock_loaders_take_it(tars):
    train = build(tars)
    loader = torch.utils.data.DataLoader(train, batch_size=5, shuffle=True, collate_fn=train.collater)
    assert len(loader) == -(-len(train) // 5)
    assert next(iter(loader))["image"].shape == (5, 3, 16, 16)
