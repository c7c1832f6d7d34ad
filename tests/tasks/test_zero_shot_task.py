"""The task tldr_zero_shot, by every architecture."""

import json
from types import SimpleNamespace

import clips
import numpy as np
import pytest
import torch
from evaluation_sets import CLASSES, Zoo
from lavis.common.registry import registry
from lavis.models.clip_models.model import openai_imagenet_template
from omegaconf import OmegaConf
from tiny_blip import build_tiny, register_tiny
from torch.utils.data import DataLoader
from vilts import tiny_vilt

from lavis_tldr.models.scorers import scorer_of
from lavis_tldr.tasks.zero_shot import ZeroShotTask


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("output_dir", "result_dir"):
        monkeypatch.setitem(registry.mapping["paths"], name, str(tmp_path))
    register_tiny(tmp_path, monkeypatch)
    return tmp_path


@torch.no_grad()
def run(task, model, zoo=None):
    found = task.evaluation(model.eval(), DataLoader(zoo or Zoo(), batch_size=4))
    task.after_evaluation(found, "val", 0)
    return found


@torch.no_grad()
def test_clip_decides_as_lavis_does(folder):
    """LAVIS's classifier over the same classes, with its 80 templates."""
    model, zoo = clips.stock_clip().eval(), Zoo()
    model.classifier = model.zero_shot_classifier(CLASSES.names, openai_imagenet_template)
    stock = model.predict({"image": zoo.pixels, "label": torch.tensor(zoo.labels)})["predictions"].argmax(1)
    found = run(ZeroShotTask(), model, zoo)
    assert found.predictions == [CLASSES.numbers[column] for column in stock]
    right = [label == guess for label, guess in zip(zoo.labels, found.predictions, strict=True)]
    assert found.figures == {
        "acc": 100 * np.mean(right),
        "acc5": 100,
        "chance": 25,
        "agg_metrics": found.figures["acc"],
    }
    written = json.loads((folder / "zero_shot_val_epoch0.json").read_text())
    assert written["predictions"] == found.predictions and written["images"] == zoo.images


@pytest.mark.parametrize(("templates", "count"), [(None, 1), ("openai7", 7)])
@torch.no_grad()
def test_vilt_decides_by_the_mean_match(folder, templates, count):
    """Against one pair at a time."""
    model, zoo = tiny_vilt(folder).eval(), Zoo(5)
    scorer = scorer_of(model)
    found = run(ZeroShotTask(templates, pairs_per_pass=3), model, zoo)
    kinds = ["a photo of a {}."]
    if count == 7:
        kinds = ["itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}."]
        kinds += ["a {} in a video game.", "art of the {}.", "a photo of the small {}."]
    for pixels, guess in zip(zoo.pixels, found.predictions, strict=True):
        image = scorer.read_images({"image": pixels[None]})
        means = [
            np.mean([scorer.match_pairs(image, [kind.format(name)]).item() for kind in kinds]) for name in CLASSES.names
        ]
        assert guess == CLASSES.numbers[int(np.argmax(means))]


@torch.no_grad()
def test_blip_compares_projections_or_matches(folder):
    model, zoo = build_tiny().eval(), Zoo()
    scorer = scorer_of(model)
    prompts = [f"a photo of a {name}." for name in CLASSES.names]
    cosines = scorer.embed_images({"image": zoo.pixels}) @ scorer.embed_texts(prompts).T
    found = run(ZeroShotTask("single"), model, zoo)
    assert found.predictions == [CLASSES.numbers[column] for column in cosines.argmax(1)]
    assert len(run(ZeroShotTask("single", score_by="pairs"), model, zoo).predictions) == 10


def test_options_out_of_range(folder):
    for options, said in [
        ({"templates": "80"}, "run.templates is '80'"),
        ({"score_by": "rerank"}, "run.score_by is 'rerank'"),
        ({"pairs_per_pass": 0}, "run.pairs_per_pass is 0"),
    ]:
        with pytest.raises(ValueError, match=said):
            ZeroShotTask(**options)
    with pytest.raises(ValueError, match="this model can be scored by cosine alone"):
        ZeroShotTask(score_by="pairs").way_of(scorer_of(clips.stock_clip()))
    with pytest.raises(ValueError, match="this model can be scored by pairs alone"):
        ZeroShotTask(score_by="cosine").way_of(scorer_of(tiny_vilt(folder)))


def test_models_that_can_not_are_refused_at_start():
    cfg = SimpleNamespace(model_cfg=OmegaConf.create({"arch": "blip_vqa"}), run_cfg=OmegaConf.create({}))
    with pytest.raises(ValueError, match="BlipVQA does not say how well a text fits an image"):
        ZeroShotTask.setup_task(cfg)
