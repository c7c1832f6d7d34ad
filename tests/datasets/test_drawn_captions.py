"""Captions drawn at training time: one of the two at every epoch, wherever a sample is loaded."""

import json
import random

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch.utils.data import DataLoader, DistributedSampler

from lavis_tldr.datasets.tldr_reduced import ReducedBuilder
from lavis_tldr.reduction.draw import draw_one
from lavis_tldr.runners.loaders import start_epoch, train_loader

KEYS = [f"k{i:02d}" for i in range(40)]


def record(key, **fields):
    captions = {"caption": f"{key} old; {key} new", "caption_original": f"{key} old", "caption_generated": f"{key} new"}
    return {"image": f"{key}.png", "key": key, **captions, "caption_from": "drawn", **fields}


def write_set(folder, records):
    folder.mkdir(exist_ok=True)
    for row in records:
        Image.new("RGB", (2, 2)).save(folder / row["image"])
    (folder / "annotations.json").write_text(json.dumps(records))
    return folder


def build(folder, **config):
    config = OmegaConf.create({"data_type": "images", "path": str(folder), "image_root": str(folder), **config})
    dataset = ReducedBuilder(config).build_datasets()["train"]
    dataset.vis_processor = lambda image: torch.zeros(1)
    return dataset


@pytest.fixture
def drawn_set(tmp_path):
    return write_set(tmp_path / "set", [record(key) for key in KEYS])


def loader_of(dataset, num_workers=0, **options):
    options = {"batch_size": 4, "collate_fn": dataset.collater, **options}
    return DataLoader(dataset, num_workers=num_workers, **options)


def texts(loader) -> dict[str, str]:
    """What a pass serves, by key."""
    found = [text for batch in loader for text in batch["text_input"]]
    assert len(found) == len(set(found))
    return {text.split()[0]: text.split()[1] for text in found}


def expected(epoch: int, seed: int = 0) -> dict[str, str]:
    return {key: ("old", "new")[draw_one(key, 2, epoch=epoch, seed=seed)] for key in KEYS}


def test_draws_differ_by_epoch_and_seed_and_are_fair():
    keys = [f"k{i}" for i in range(2000)]

    def draws(epoch, seed):
        return [draw_one(key, 2, epoch=epoch, seed=seed) for key in keys]

    assert draws(0, 0) == draws(0, 0)
    for other in (draws(1, 0), draws(0, 1)):
        # Of 2,000 fair draws 45% to 55% is 4.5 deviations.
        assert 0.45 < sum(a != b for a, b in zip(draws(0, 0), other, strict=True)) / 2000 < 0.55
    assert 900 < sum(draws(0, 0)) < 1100
    assert {draw_one(key, 3, epoch=0, seed=0) for key in keys} == {0, 1, 2}


@pytest.mark.parametrize(("num_workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_two_epochs_through_a_loader(drawn_set, num_workers, persistent):
    dataset = build(drawn_set)
    loader = loader_of(dataset, num_workers, persistent_workers=persistent)
    passes = []
    for epoch in range(2):
        dataset.set_epoch(epoch, seed=3)
        passes.append(texts(loader))
    assert passes == [expected(0, seed=3), expected(1, seed=3)]
    assert passes[0] != passes[1]


def test_each_copy_of_a_repeated_pair_draws_for_itself(tmp_path):
    dataset = build(write_set(tmp_path / "set", [record(key, repeats=3) for key in KEYS]))
    passes = []
    for epoch in range(2):
        dataset.set_epoch(epoch, seed=3)
        found = [text.split()[1] for batch in loader_of(dataset, num_workers=2) for text in batch["text_input"]]
        passes.append(found)
        assert found[::3] == list(expected(epoch, seed=3).values())  # the first copy as in a set without repeats
    assert len(passes[0]) == 120 and passes[0] != passes[1]
    pairs = list(zip(passes[0][::3], passes[0][1::3], passes[0][2::3], strict=True))
    # Of 40 fair threefold draws all alike is a quarter: at most half is 3.7 deviations.
    assert 0 < sum(len(set(drawn)) == 1 for drawn in pairs) < 20
    assert {"old", "new"} == set(passes[0][1::3]) == set(passes[0][2::3])


def test_ranks_draw_what_one_process_draws(drawn_set):
    found = {}
    for rank in range(2):
        dataset = build(drawn_set)
        sampler = DistributedSampler(dataset, num_replicas=2, rank=rank, seed=0)
        sampler.set_epoch(5)
        dataset.set_epoch(5, seed=0)
        found |= texts(loader_of(dataset, sampler=sampler))
    assert found == expected(5)


def test_the_runners_loader_says_the_epoch(drawn_set):
    from lavis.datasets.datasets.base_dataset import ConcatDataset

    dataset = ConcatDataset([build(drawn_set)])  # as LAVIS hands it to a runner
    loader = train_loader(dataset, batch_size=4, num_workers=2, collate_fn=dataset.collater, cuda=False, seed=7)
    for epoch in (4, 0):  # a resumed run begins in the middle
        start_epoch(loader, 7, epoch)
        assert texts(loader) == expected(epoch, seed=7)


def test_sets_that_do_not_ask_are_left_alone():
    dataset = list(range(8))
    loader = train_loader(dataset, batch_size=4, num_workers=0, collate_fn=list, cuda=False, seed=7)
    start_epoch(loader, 7, 1)
    assert sorted(x for batch in loader for x in batch) == dataset


def test_order_of_the_records_decides_nothing(tmp_path):
    shuffled = random.Random(0).sample(KEYS, len(KEYS))
    dataset = build(write_set(tmp_path / "set", [record(key) for key in shuffled]))
    dataset.set_epoch(1, seed=0)
    assert texts(loader_of(dataset)) == expected(1)


def test_any_set_with_both_captions_can_be_drawn_from(tmp_path):
    rows = [record(key) for key in KEYS]
    for row in rows:
        del row["caption_from"]
    folder = write_set(tmp_path / "set", rows)
    dataset = build(folder, caption="drawn")
    dataset.set_epoch(0, seed=0)
    assert texts(loader_of(dataset)) == expected(0)
    assert build(folder)[0]["text_input"] == "k00 old; k00 new"  # joined, as the recipe says


def test_a_drawn_set_can_be_read_without_drawing(drawn_set):
    assert build(drawn_set, caption="original")[0]["text_input"] == "k00 old"
    assert build(drawn_set, caption="generated")[0]["text_input"] == "k00 new"


def test_where_there_is_but_one_caption_it_is_the_one(tmp_path):
    rows = [record("k00", caption_generated=" "), record("k01", caption_original=""), record("k02")]
    dataset = build(write_set(tmp_path / "set", rows))
    for epoch in range(8):
        dataset.set_epoch(epoch, seed=0)
        assert [dataset[i]["text_input"] for i in range(2)] == ["k00 old", "k01 new"]


def test_a_record_without_key_is_told_by_its_image(tmp_path):
    rows = [record(key) for key in KEYS]
    for row in rows:
        del row["key"]
    dataset = build(write_set(tmp_path / "set", rows))
    dataset.set_epoch(0, seed=0)
    assert len(set(texts(loader_of(dataset)).values())) == 2


@pytest.mark.parametrize("num_workers", [0, 1])
def test_who_says_no_epoch_is_told_what_to_do(drawn_set, num_workers):
    with pytest.raises(ValueError, match="nobody has said which one.*runner_tldr.*set_epoch"):
        next(iter(loader_of(build(drawn_set), num_workers)))


@pytest.mark.parametrize(
    ("changes", "caption", "message"),
    [
        ({"caption_generated": ""}, "drawn", "no record in .* has both .*caption \\(refined, original, generated\\)"),
        ({"caption_generated": "", "caption_original": ""}, "drawn", "2 of 2 records .* no drawn caption"),
        ({"caption_generated": "", "caption_original": ""}, "refined", "2 of 2 records .* no refined caption"),
        ({"caption_original": "\n"}, "original", "2 of 2 records .* no original caption"),
    ],
)
def test_sets_that_lack_captions_are_refused(tmp_path, changes, caption, message):
    folder = write_set(tmp_path / "set", [record(key, **changes) for key in KEYS[:2]])
    with pytest.raises(ValueError, match=message):
        build(folder, caption=caption)


def test_stock_lavis_reads_both_joined(drawn_set):
    from lavis.datasets.datasets.image_text_pair_datasets import ImageTextPairDataset

    def same(x):
        return x

    dataset = ImageTextPairDataset(same, same, str(drawn_set), [str(drawn_set / "annotations.json")])
    assert dataset[0]["text_input"] == "k00 old; k00 new"
