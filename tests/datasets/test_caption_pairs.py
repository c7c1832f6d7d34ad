import io
import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lavis.common.registry import registry
from omegaconf import OmegaConf
from PIL import Image
from threaded_ranks import ThreadedRanks

from lavis_tldr.datasets import caption_pairs
from lavis_tldr.datasets.caption_pairs import CaptionPairsBuilder, best_keys, read_items
from lavis_tldr.datasets.feature_cache import FeatureCache
from lavis_tldr.datasets.pair_index import PairIndexBuilder
from lavis_tldr.sources import unique_keys
from lavis_tldr.tasks import captioner_start

# Two images with several captions each (COCO's way), one with one.
CAPTIONS = {"a.jpg": ["A red square.", "Something red"], "b.jpg": ["green"], "c.jpg": ["blue 1", "blue 2", "blue 3"]}
COLOURS = {"a.jpg": (255, 0, 0), "b.jpg": (0, 255, 0), "c.jpg": (0, 0, 255)}


@pytest.fixture
def source(tmp_path):
    (tmp_path / "images").mkdir()
    for name, colour in COLOURS.items():
        buffer = io.BytesIO()
        Image.new("RGB", (20, 20), colour).save(buffer, "PNG")
        (tmp_path / "images" / name).write_bytes(buffer.getvalue())
    rows = [{"image": name, "caption": text} for name, texts in CAPTIONS.items() for text in texts]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    return {"format": "lavis_json", "annotations": str(tmp_path / "pairs.json"), "image_root": str(tmp_path / "images")}


def build(**changes):
    cfg = OmegaConf.load(CaptionPairsBuilder.DATASET_CONFIG_DICT["default"]).datasets.tldr_captions
    sizes = {"vis_processor": {split: {"image_size": 16} for split in ("train", "eval")}}
    return CaptionPairsBuilder(OmegaConf.merge(cfg, sizes, changes)).build_datasets()


def write_scores(path, scores: dict, column="alignment"):
    pq.write_table(pa.table({"key": list(scores), column: pa.array(list(scores.values()), pa.float32())}), path)
    return str(path)


def test_registered():
    assert registry.get_builder_class("tldr_captions") is CaptionPairsBuilder


def test_every_pair_is_a_sample(source):
    train = build(train=source)["train"]
    samples = [train[i] for i in range(len(train))]
    assert [s["image_id"] for s in samples] == ["a.jpg"] * 2 + ["b.jpg"] + ["c.jpg"] * 3
    # LAVIS's text processor: lower case, no full stop
    assert [s["captions"] for s in samples[:2]] == [["a red square"], ["something red"]]
    batch = train.collater(samples)
    assert batch["image"].shape == (6, 3, 16, 16)
    assert batch["text_input"] == ["a red square", "something red", "green", "blue 1", "blue 2", "blue 3"]


def test_images_with_several_captions(source):
    train = build(train=source, captions_per_image=2)["train"]
    assert len(train) == 3
    torch.manual_seed(0)
    seen = set()
    for _ in range(20):
        batch = train.collater([train[i] for i in range(3)])
        first, one, drawn = batch["text_input"][:2], batch["text_input"][2:4], batch["text_input"][4:]
        assert sorted(first) == ["a red square", "something red"]
        assert one == ["green", "green"]
        assert len(set(drawn)) == 2
        seen.update(drawn)
    assert seen == {"blue 1", "blue 2", "blue 3"}


def test_validation_has_all_references(source):
    val = build(val=source)["val"]
    batch = val.collater([val[i] for i in range(len(val))])
    assert batch["image_id"] == ["a.jpg", "b.jpg", "c.jpg"]
    assert batch["references"] == list(CAPTIONS.values())
    assert "text_input" not in batch
    # the evaluation transform: the same each time
    assert torch.equal(val[0]["image"], val[0]["image"])


def test_captions_are_all_of_the_source(source):
    assert sorted(build(train=source, captions_per_image=2)["train"].captions()) == sorted(
        ["a red square", "something red", "green", "blue 1", "blue 2", "blue 3"]
    )


def test_drawn_captions_are_those_of_the_list(source, monkeypatch):
    train = build(train=source, captions_per_image=2)["train"]
    monkeypatch.setattr(captioner_start, "_MAX_CAPTIONS", 4)
    drawn = np.random.default_rng(7).choice(6, 4, replace=False)
    assert captioner_start._sample_captions(train, 7) == [train.captions()[i] for i in sorted(drawn)]
    monkeypatch.setattr(captioner_start, "_MAX_CAPTIONS", 6)
    assert captioner_start._sample_captions(train, 7) == train.captions()


def test_pairs_come_once_where_keys_are_compared(source, monkeypatch, caplog):
    expected = list(read_items(source, by_image=True))
    monkeypatch.setattr(unique_keys, "hash", lambda key: 0, raising=False)  # all keys are then compared
    with caplog.at_level(logging.WARNING):
        assert list(read_items(source, by_image=True)) == expected
    assert "can't be used" not in caplog.text


def test_failed_records_are_counted_once_over_all_parts(source, tmp_path, monkeypatch, caplog):
    rows = [{"image": name, "caption": "x"} for name in ("a.jpg", "gone.jpg", "b.jpg", "lost.jpg")]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    monkeypatch.setattr(unique_keys, "hash", lambda key: 0, raising=False)
    with caplog.at_level(logging.WARNING):
        assert [key for key, _, _ in read_items({**source, "part_size": 1}, by_image=False)] == ["a.jpg", "b.jpg"]
    assert "2 of 4 records can't be used (first: gone.jpg: missing image)" in caplog.text


def test_best_keys_by_hand(tmp_path):
    nan = float("nan")
    table = write_scores(tmp_path / "l.parquet", {"d": 0.5, "a": 0.9, "c": 0.5, "b": 0.5, "e": nan, "f": 0.1})
    # five are scored; ties go by the alphabet
    assert best_keys({"table": table, "share": 0.4}) == {"a", "b"}
    assert best_keys({"table": table, "share": 0.6}) == {"a", "b", "c"}
    assert best_keys({"table": table, "share": 1}) == {"a", "b", "c", "d", "f"}
    assert best_keys({"table": table}) == {"a", "b"}  # half of five, rounded to the even


def test_gating_is_by_pair(source, tmp_path):
    records = [item[2] for item in read_items(source, by_image=False)]
    assert len(records) == 6
    scores = {"a.jpg#0": 0.9, "a.jpg#1": 0.1, "b.jpg": 0.2, "c.jpg#0": 0.3, "c.jpg#1": 0.8, "c.jpg#2": 0.7}
    only = {"table": write_scores(tmp_path / "l.parquet", scores, column="match"), "column": "match", "share": 0.5}
    train = build(train=source, only=only)["train"]
    assert sorted(train.captions()) == ["a red square", "blue 2", "blue 3"]
    by_image = build(train=source, only=only, captions_per_image=2)["train"]
    assert [item[0] for item in by_image.items] == ["a.jpg", "c.jpg"]
    assert sorted(by_image.captions()) == ["a red square", "blue 2", "blue 3"]


@pytest.mark.parametrize("named", ["score/*.parquet", ["score/0.parquet", "score/1.parquet"]])
def test_score_tables_in_parts(source, tmp_path, named):
    (tmp_path / "score").mkdir()
    write_scores(tmp_path / "score/0.parquet", {"a.jpg#0": 0.9, "a.jpg#1": 0.1})
    write_scores(tmp_path / "score/1.parquet", {"b.jpg": 0.2, "c.jpg#1": 0.8})
    table = [str(tmp_path / name) for name in named] if isinstance(named, list) else str(tmp_path / named)
    train = build(train=source, only={"table": table, "share": 0.5})["train"]
    assert sorted(train.captions()) == ["a red square", "blue 2"]


def test_validation_is_not_gated(source, tmp_path):
    only = {"table": write_scores(tmp_path / "l.parquet", {"a.jpg#0": 0.9, "b.jpg": 0.1}), "share": 0.5}
    assert len(build(train=source, val=source, only=only)["val"]) == 3


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ({"share": 0.5}, "expected table"),
        ({"table": "scores", "portion": 0.5}, "expected table"),
        ({"table": "absent.parquet"}, "only.table .* at 'absent.parquet'"),
        ({"table": "scores", "share": 0}, "share is 0.0"),
        ({"table": "scores", "share": 1.5}, "share is 1.5"),
        ({"table": "scores", "column": "itm"}, "columns key, alignment; expected key and itm"),
        ({"table": "others"}, "no usable pair among the 1"),
    ],
)
def test_bad_gates(source, tmp_path, only, message):
    tables = {
        "scores": write_scores(tmp_path / "scores.parquet", {"a.jpg#0": 1.0}),
        "others": write_scores(tmp_path / "others.parquet", {"x": 1.0, "y": 0.0}),
    }
    only = {**only, "table": tables.get(only["table"], only["table"])} if "table" in only else only
    with pytest.raises(ValueError, match=message):
        build(train=source, only=only)


def test_unreadable_images_are_stood_in_for(source, tmp_path, caplog):
    (tmp_path / "images/b.jpg").write_bytes(b"not an image")
    train = build(train=source)["train"]
    with caplog.at_level(logging.WARNING):
        assert train[2]["image_id"] == "c.jpg"
    assert "b.jpg" in caplog.text and "the next image stands in" in caplog.text
    for name in ("a.jpg", "c.jpg"):
        (tmp_path / "images" / name).write_bytes(b"")
    with pytest.raises(ValueError, match="none of the 6 images can be read"):
        train[5]


def test_two_sources_are_trained_on_together(source, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "z.jpg")
    rows = [{"image": "z.jpg", "caption": "a trusted thing"}, {"image": "z.jpg", "caption": "another one"}]
    (tmp_path / "trusted.json").write_text(json.dumps(rows))
    also = {"format": "lavis_json", "annotations": str(tmp_path / "trusted.json"), "image_root": str(tmp_path)}
    alone, both = (build(train=source, **more)["train"] for more in ({}, {"also": also}))
    assert sorted(both.captions()) == sorted([*alone.captions(), "a trusted thing", "another one"])
    by_image = build(train=source, also=also, captions_per_image=2)["train"]
    assert [captions for key, _, captions in by_image.items if key == "z.jpg"] == [["a trusted thing", "another one"]]


def test_only_leaves_the_second_source_whole(source, tmp_path):
    keys = [key for key, _, _ in build(train=source)["train"].items]
    pq.write_table(pa.table({"key": keys[:1], "alignment": [1.0]}), tmp_path / "scores.parquet")
    Image.new("RGB", (8, 8)).save(tmp_path / "z.jpg")
    (tmp_path / "trusted.json").write_text(json.dumps([{"image": "z.jpg", "caption": "a trusted thing"}]))
    also = {"format": "lavis_json", "annotations": str(tmp_path / "trusted.json"), "image_root": str(tmp_path)}
    only = {"table": str(tmp_path / "scores.parquet"), "share": 1.0}
    train = build(train=source, only=only, also=also)["train"]
    assert sorted(key for key, _, _ in train.items)[-1] == "z.jpg" and "a trusted thing" in train.captions()


def test_a_key_of_both_sources_is_refused(source):
    with pytest.raises(ValueError, match="twice|two|unique|same key"):
        build(train=source, also=source)


def test_missing_images_are_counted_at_the_start(source, tmp_path, caplog):
    rows = json.loads((tmp_path / "pairs.json").read_text()) + [{"image": "gone.jpg", "caption": ""}]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    with caplog.at_level(logging.WARNING):
        assert len(build(train=source)["train"]) == 6
    assert "1 of 7 records can't be used (first: gone.jpg" in caplog.text


def test_cached_features_stand_for_images(source, tmp_path):
    train = build(train=source, feature_cache=str(tmp_path / "cache"))["train"]
    assert train.feature_cache_folder == str(tmp_path / "cache")
    cache = FeatureCache(tmp_path / "cache", "encoder")
    tokens = np.stack([np.full((5, 2), 3.0), np.full((5, 2), 1.0)])
    tokens[:, 0] = -1  # [CLS]
    cache.add(["c.jpg", "a.jpg"], tokens)
    train.use_features(cache)
    assert len(train) == 5  # b has none
    batch = train.collater([train[0], train[2]])
    assert batch["image_tokens"].shape == (2, 5, 2) and "image" not in batch
    assert batch["image_tokens"][:, :2, 0].tolist() == [[-1.0, 1.0], [-1.0, 3.0]]
    assert batch["text_input"] == ["a red square", "blue 1"]


def test_a_cache_without_any_of_the_images(source, tmp_path):
    train = build(train=source)["train"]
    with pytest.raises(ValueError, match="none of the images can be read"):
        train.use_features(FeatureCache(tmp_path / "cache", "encoder"))


def test_with_a_cache_images_are_not_augmented(source, tmp_path):
    train = build(train=source, feature_cache=str(tmp_path / "cache"))["train"]
    val = build(val=source)["val"]
    assert torch.equal(train.load_image(0), val.load_image(0))


def test_workers_read_what_the_process_reads(source):
    val = build(val=source)["val"]
    loader = torch.utils.data.DataLoader(val, 2, num_workers=1, collate_fn=val.collater)
    assert [key for batch in loader for key in batch["image_id"]] == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"caption_per_image": 2},
            "unknown key datasets.*caption_per_image .did you mean 'captions_per_image'",
        ),
        ({"captions_per_image": 0}, "captions_per_image is 0"),
    ],
)
def test_bad_configs(source, changes, message):
    with pytest.raises(ValueError, match=message):
        build(train=source, **changes)


def test_source_without_a_usable_pair(source, tmp_path):
    (tmp_path / "pairs.json").write_text(json.dumps([{"image": "a.jpg", "caption": " "}]))
    with pytest.raises(ValueError, match="tldr_captions.train: the source has no usable pair"):
        build(train=source)


def test_ranks_read_a_part_each_and_have_all_pairs(source, monkeypatch):
    source = {**source, "part_size": 1}
    expected = list(read_items(source, by_image=True))
    ranks, read = ThreadedRanks(2), []
    ranks.stand_in(monkeypatch, caption_pairs)
    monkeypatch.setattr(
        PairIndexBuilder, "start_part", lambda *a, f=PairIndexBuilder.start_part: read.append(a[1]) or f(*a)
    )
    assert ranks.run(lambda rank: list(read_items(source, by_image=True))) == [expected, expected]
    assert len(expected) > 2 and len(read) == len(set(read))  # no part is read by both
