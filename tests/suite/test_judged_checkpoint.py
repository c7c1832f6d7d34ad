"""What a checkpoint is of is read from itself or from its run's config."""

import pytest
import torch
from omegaconf import OmegaConf

from lavis_tldr.suite.checkpoint import image_processor_of, read_judged

SMALL, LARGE = {"image_size": 196, "mean": [0.5]}, {"image_size": 224, "mean": [0.5]}


def test_a_checkpoint_tells_of_itself(toys, album, tmp_path, monkeypatch):
    path = toys.write_clip(tmp_path / "job", album, seed=3)
    judged = read_judged(path)
    assert (judged.arch, judged.seed, judged.label) == ("clip_pretrain", 3, "job")
    assert judged.architecture.family == "CLIP"
    assert judged.account == {"num_pairs": 103, "samples_seen": 1000, "device_hours": 0.5, "device": "cpu"}
    assert judged.initialisation == "random"
    # what it names by the environment is read as it is now
    content = torch.load(path, weights_only=True)
    content["config"]["model"].update(vit_weights="${oc.env:TOY_ASSETS,nowhere}/vit.safetensors", freeze_vit=True)
    torch.save(content, path)
    monkeypatch.setenv("TOY_ASSETS", "/somewhere")
    judged = read_judged(path)
    assert judged.model["vit_weights"] == "/somewhere/vit.safetensors"
    assert judged.initialisation == "vit_weights vit.safetensors, freeze_vit True"


def test_without_a_config_it_asks_for_one(toys, album, tmp_path):
    path = toys.write_clip(tmp_path / "job", album, config=None)
    with pytest.raises(ValueError, match="does not tell which model.*--config"):
        read_judged(path)
    config = tmp_path / "run.yaml"
    OmegaConf.save({"model": {"arch": "clip_pretrain", "model_type": "tiny"}, "run": {"seed": 5}}, config)
    judged = read_judged(path, config)
    assert (judged.arch, judged.seed, judged.image_processor) == ("clip_pretrain", 5, None)
    OmegaConf.save({"model": {"arch": "clip_pretrai"}}, config)
    with pytest.raises(ValueError, match="did you mean 'clip_pretrain'"):
        read_judged(path, config)


@pytest.mark.parametrize(
    ("datasets", "expected"),
    [
        # evaluated as trained, where the size is the training's
        ({"a": {"train": SMALL, "eval": {"name": "mine", **SMALL}}}, {"name": "mine", **SMALL}),
        # a packaged default of another size is nobody's wish
        ({"a": {"train": SMALL, "eval": {"name": "mine", **LARGE}}}, {"name": "blip_image_eval", **SMALL}),
        ({"a": {"train": {"name": "clip_image_train", **SMALL}}}, {"name": "clip_image_eval", **SMALL}),
        # nothing is trained on: as it was evaluated
        ({"a": {}, "b": {"eval": {"name": "mine", **LARGE}}}, {"name": "mine", **LARGE}),
        ({}, None),
    ],
)
def test_images_without_augmentation(datasets, expected):
    assert image_processor_of({name: {"vis_processor": p} for name, p in datasets.items()}) == expected
