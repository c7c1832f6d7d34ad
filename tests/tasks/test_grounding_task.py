"""RefCOCO+ by crops and by GradCAM: images whose boxes differ in grey, a scorer that sees grey, and tiny models."""

import json

import clips
import numpy as np
import pytest
import torch
import vilts
from grey_scorer import PLAIN, GreyScorer
from lavis.common.registry import registry
from omegaconf import OmegaConf
from PIL import Image, ImageDraw

from lavis_tldr import train
from lavis_tldr.datasets.tldr_grounding import GroundingBuilder, crop
from lavis_tldr.models.scorers import scorer_of
from lavis_tldr.models.scorers.gradcam import gradcam_layer, heat_maps
from lavis_tldr.tasks import gathering, grounding
from lavis_tldr.tasks.grounding import GroundingTask

# Two images: their boxes with the grey inside, and proposals.
BOXES = {"a.png": {60: [0, 0, 20, 20], 120: [20, 0, 30, 20], 200: [10, 25, 40, 20]}, "b.png": {90: [5, 5, 10, 10]}}
PROPOSALS = {"a.png": [[20, 0, 30, 9], [11, 25, 40, 20], [0, 0, 20, 20]], "b.png": []}
# Image, text, place of the box; grey 120's proposal overlaps by 0.45 alone, and b.png has none.
SENTENCES = [("a.png", "grey 60", 0), ("a.png", "grey 120", 1), ("b.png", "grey 90", 0), ("a.png", "grey 200", 2)]


@pytest.fixture
def refcoco(tmp_path):
    for name, boxes in BOXES.items():
        image = Image.new("RGB", (64, 48))
        for grey, (x, y, width, height) in boxes.items():
            ImageDraw.Draw(image).rectangle((x, y, x + width - 1, y + height - 1), fill=(grey,) * 3)
        image.save(tmp_path / name)
    write(tmp_path)
    return tmp_path


def write(folder, sentences=SENTENCES, **changes) -> None:
    rows = [
        {
            "image": name,
            "sent_id": 100 + number,
            "text": text,
            "boxes": list(BOXES[name].values()),
            "target": target,
            "proposals": PROPOSALS[name],
            **changes,
        }
        for number, (name, text, target) in enumerate(sentences)
    ]
    (folder / "refcoco+_testA.json").write_text(json.dumps(rows))


def build(folder, **changes):
    cfg = OmegaConf.load(GroundingBuilder.DATASET_CONFIG_DICT["default"]).datasets.tldr_grounding
    given = {"path": str(folder), "split": "testA", "vis_processor": {"eval": PLAIN}}
    return GroundingBuilder(OmegaConf.merge(cfg, given, changes)).build_datasets()["test"]


def evaluate(dataset, scorer, patch, tmp_path, indices=None):
    """This process's rows, and the task that made them."""
    patch.setattr(grounding, "scorer_of", lambda model: scorer)
    for name in ("output_dir", "result_dir"):
        patch.setitem(registry.mapping["paths"], name, str(tmp_path))
    task = GroundingTask(per_pass=2)
    task.before_evaluation(scorer.model, dataset)
    patch.setattr(grounding, "own_share", lambda loader, cuda: loader)
    subset = dataset if indices is None else torch.utils.data.Subset(dataset, indices)
    loader = torch.utils.data.DataLoader(subset, batch_size=2, collate_fn=dataset.collater)
    return task, task.evaluation(scorer.model, loader)


@pytest.mark.parametrize("matches", [True, False])
def test_boxes_by_crops(refcoco, monkeypatch, tmp_path, caplog, matches):
    scorer = GreyScorer(matches=matches)
    task, rows = evaluate(build(refcoco), scorer, monkeypatch, tmp_path)
    found = task.after_evaluation(val_result=rows, split_name="test", epoch=0)
    assert found["acc"] == found["agg_metrics"] == 100
    assert found["acc_detected"] == 50  # grey 60 and grey 200
    assert found["chance"] == pytest.approx(100 * (3 * 1 / 3 + 1) / 4)
    assert (found["sentences"], found["images"], found["images_without_proposals"]) == (4, 2, 1)
    assert "1 of 2 images have no proposal (first: b.png); their 1 sentences count as wrong" in caplog.text
    assert scorer.num_encoded == 3 + 3 + 1  # each candidate once, for all sentences
    written = json.loads((tmp_path / "grounding_testA_epoch0.json").read_text())
    assert [row["sent_id"] for row in written] == [100, 101, 103, 102]
    assert written[1] == {"sent_id": 101, "chosen": 1, "right": True, "box": [20, 0, 30, 9], "right_detected": False}
    assert written[3]["box"] is None


def test_the_same_on_two_ranks_as_on_one(refcoco, monkeypatch, tmp_path):
    dataset = build(refcoco)
    task, rows = evaluate(dataset, GreyScorer(), monkeypatch, tmp_path)
    alone = task.after_evaluation(val_result=rows, split_name="test", epoch=0)
    parts = [evaluate(dataset, GreyScorer(), monkeypatch, tmp_path, part)[1] for part in ([0, 1], [1, 0])]  # padded
    found = [{row["sent_id"]: row for row in rows} for rows in parts]
    monkeypatch.setattr(gathering, "from_all_ranks", lambda rows: found)
    assert task.after_evaluation(val_result=parts[0], split_name="test", epoch=0) == alone
    monkeypatch.setattr(gathering, "from_all_ranks", lambda rows: [{parts[0][-1]["sent_id"]: parts[0][-1]}])
    with pytest.raises(ValueError, match="3 sentences of testA got no score"):
        task.after_evaluation(val_result=[], split_name="test", epoch=0)


def test_a_score_that_is_no_number_is_an_error(refcoco, monkeypatch, tmp_path):
    scorer = GreyScorer()
    scorer.match_pairs = lambda images, texts: torch.full((len(texts),), torch.nan)
    with pytest.raises(ValueError, match="a.png, sentence 100: .* nan"):
        evaluate(build(refcoco), scorer, monkeypatch, tmp_path)


def test_without_proposals_there_is_no_accuracy_on_them(refcoco, monkeypatch, tmp_path, caplog):
    write(refcoco, proposals=None)
    task, rows = evaluate(build(refcoco), GreyScorer(), monkeypatch, tmp_path)
    assert "acc_detected" not in task.after_evaluation(val_result=rows, split_name="test", epoch=0)
    assert "testA has no proposals" in caplog.text


def test_a_crop_is_what_is_in_the_box():
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    assert np.asarray(crop(image, [2, 1, 3, 2], 0)).tolist() == [[10, 11, 12], [18, 19, 20]]
    assert crop(image, [2, 1, 2, 2], 0.5).size == (4, 4)
    assert crop(image, [6, 4, 10, 10], 0.5).size == (7, 6)  # from 1, -1 to the edges
    assert crop(image, [1.5, 1.5, 1, 0.2], 0).size == (2, 1)
    assert crop(image, [20, 20, 5, 5], 0).size == (1, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": 3}, "no box number 3"),
        ({"sent_id": 1}, "sentence 1 is there twice"),
        ({"boxes": [[1, 2, 3]]}, "no box number 0 of x, y"),
        ({"boxes": "all"}, "another layout|no box number"),
        ({"image": "gone.png"}, "1 of 1 images .*gone.png.*must be whole"),
    ],
)
def test_another_list_is_refused(refcoco, changes, message):
    sentences = [sentence for sentence in SENTENCES if sentence[0] == "a.png"]
    write(refcoco, sentences, **changes)
    with pytest.raises(ValueError, match=message):
        build(refcoco)


def test_a_config_that_can_not_be_is_refused(refcoco):
    for changes, message in (
        ({"split": "testC"}, "'testC' is unknown .did you mean"),
        ({"split": "val"}, "refcoco._val.json is missing: `lavis-tldr data convert"),
        ({"path": None}, "path is not set"),
        ({"crop_padding": -1}, "expected 0 or more"),
        ({"padding": 1}, "unknown key datasets.tldr_grounding.padding"),
    ):
        with pytest.raises(ValueError, match=message):
            build(refcoco, **changes)
    (refcoco / "b.png").write_bytes(b"rotten")
    with pytest.raises(ValueError, match="b.png can't be read"):
        build(refcoco)[1]


def blip_config(folder, **changes) -> dict:
    return {
        "arch": "blip_pretrain_tldr",
        "model_type": "tiny",
        "vocabulary": str(vilts.write_vocabulary(folder)),
        **changes,
    }


def run(folder, model: dict, **run_keys):
    image = {"name": "blip_image_eval", "image_size": 32}
    config = {
        "model": model,
        "datasets": {"tldr_grounding": {"path": str(folder), "split": "testA", "vis_processor": {"eval": image}}},
        "run": {
            "task": "tldr_grounding",
            "device": "cpu",
            "evaluate": True,
            "train_splits": [],
            "test_splits": ["test"],
            "batch_size_train": 1,
            "max_epoch": 1,
            "batch_size_eval": 2,
            "num_workers": 0,
            "output_dir": str(folder / "out"),
            "job_id": "job",
            **run_keys,
        },
    }
    return train.run_config(OmegaConf.create(config))


MODELS = {
    "clip": lambda folder: {
        "arch": "clip_pretrain",
        "model_type": "tiny",
        "image_size": 32,
        "vocabulary": str(clips.write_vocabulary(folder)),
    },
    "vilt": lambda folder: {
        "arch": "vilt_retrieval",
        "model_type": "tiny",
        "vocabulary": str(vilts.write_vocabulary(folder)),
    },
    "blip": blip_config,
}


@pytest.mark.parametrize(("name", "way"), [("clip", "crop"), ("vilt", "crop"), ("blip", "crop"), ("blip", "gradcam")])
def test_each_architecture_from_a_config(refcoco, name, way):
    runner = run(refcoco, MODELS[name](refcoco), grounding=way)
    found = runner.tested["test"]
    assert found["acc"] in {0, 25, 50, 75, 100}
    assert len(json.loads((runner.output_dir / "result" / "grounding_testA_epochbest.json").read_text())) == 4


@pytest.mark.parametrize("name", ["clip", "vilt"])
def test_gradcam_of_a_model_without_cross_attention_is_refused(refcoco, name):
    with pytest.raises(ValueError, match="cross-attention of BLIP.*set run.grounding: crop"):
        run(refcoco, MODELS[name](refcoco), grounding="gradcam")


def test_settings_that_can_not_be_are_refused(refcoco):
    for keys, message in (
        ({"grounding": "gradcan"}, "'gradcan' is unknown .did you mean 'gradcam'"),
        ({"grounding": "gradcam", "gradcam_layer": 12}, "gradcam_layer is 12; this model has the layers 0 to 1"),
        ({"pairs_per_pass": 0}, "expected at least 1"),
        ({"train_splits": ["train"], "evaluate": False}, "trains nothing"),
    ):
        with pytest.raises(ValueError, match=message):
            run(refcoco, blip_config(refcoco), **keys)


@torch.no_grad()
def test_heat_maps_are_lavis_gradcam(tmp_path, monkeypatch):
    """LAVIS's maps and gradients of stock blip_image_text_matching, text by text."""
    from tiny_blip import build_tiny, register_tiny

    register_tiny(tmp_path, monkeypatch)
    model = build_tiny()
    scorer, image = scorer_of(model), torch.randn(1, 3, 32, 32)
    texts = ["a red kite", "dogs"]
    layer = gradcam_layer(scorer, None)
    assert layer is model.text_encoder.encoder.layer[1].crossattention.self
    heat = heat_maps(scorer, layer, scorer.read_images({"image": image}), texts)
    assert heat.shape == (2, 4, 4)
    assert all(parameter.grad is None for parameter in model.parameters())
    layer.save_attention = True
    for found, text in zip(heat, texts, strict=True):
        with torch.enable_grad():
            model({"image": image, "text_input": [text]}, match_head="itm")[:, 1].sum().backward()
        maps, gradients = layer.get_attention_map(), layer.get_attn_gradients()  # (1, 2, T, 17)
        expected = (maps * gradients.clamp(0))[0, :, :, 1:].mean((0, 1)).view(4, 4)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)
    assert heat.sum() > 0


def test_heat_maps_of_frozen_weights(tmp_path, monkeypatch):
    from tiny_blip import build_tiny, register_tiny

    register_tiny(tmp_path, monkeypatch)
    model = build_tiny()
    scorer, image = scorer_of(model), {"image": torch.randn(1, 3, 32, 32)}
    maps = [
        heat_maps(scorer, gradcam_layer(scorer, 0), scorer.read_images(image), ["a"])
        for scorer in (scorer, scorer_of(model.requires_grad_(False)))
    ]
    torch.testing.assert_close(*maps)
