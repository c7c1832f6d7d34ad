"""The evaluation tasks run from configs: weights from a checkpoint, images from files."""

import json
from pathlib import Path

import clips
import pytest
import torch
from lavis.common.registry import registry
from omegaconf import OmegaConf

from lavis_tldr.train import run_config

WNIDS = {"n01498041": "red kite", "n01531178": "blue boat"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("output_dir", "result_dir"):
        monkeypatch.setitem(registry.mapping["paths"], name, "")
    return tmp_path


@pytest.fixture
def run(folder):
    """Evaluate a tiny CLIP: its runner."""

    def evaluate(task: str, datasets: dict, split: str, freeze_vit: bool = False, **keys):
        model = clips.tower_clip(folder)
        torch.save({"model": model.state_dict()}, folder / "clip.pth")
        start = {"load_pretrained": True, "pretrained": str(folder / "clip.pth")}
        run = {"task": task, "runner": "runner_tldr", "device": "cpu", "evaluate": True, "test_splits": [split]}
        more = {"output_dir": str(folder / "out"), "job_id": "job", "batch_size_eval": 3, "num_workers": 0}
        config = {
            "model": {"arch": "clip_pretrain", **clips.tower_config(folder, freeze_vit=freeze_vit, **start)},
            "datasets": datasets,
            "run": {**run, **more, "train_splits": [], "valid_splits": [], "max_epoch": 1, **keys},
        }
        return run_config(OmegaConf.create(config))

    return evaluate


def vis(size: int = 32) -> dict:
    return {"eval": {"name": "blip_image_eval", "image_size": size}}


def test_retrieval(run, folder, encoded):
    rows = []
    for number, text in enumerate(["a red kite", "a blue boat", "a green dog", "a pink house"]):
        (folder / f"{number}.jpg").write_bytes(encoded((60 * number, 9, 99), size=(32, 32)))
        rows.append({"image": f"{number}.jpg", "caption": [text, f"{text} again"][: 1 + number % 2]})
    (folder / "test.json").write_text(json.dumps(rows))
    source = {"format": "lavis_json", "annotations": str(folder / "test.json"), "image_root": str(folder)}
    runner = run("tldr_retrieval_eval", {"tldr_retrieval": {"test": source, "vis_processor": vis()}}, "test")
    figures = runner.tested["test"]
    assert figures["txt_r10"] == figures["img_r10"] == 100  # of 4 images and 6 texts
    ranks = json.loads((Path(runner.output_dir) / "result" / "retrieval_test_epochbest.json").read_text())["ranks"]
    assert figures["txt_r1"] == 100 * ranks["image_to_text"].count(1) / 4
    section = {"test": source, "vis_processor": vis(), "feature_cache": str(folder / "features")}
    cached = run("tldr_retrieval_eval", {"tldr_retrieval": section}, "test", freeze_vit=True)
    assert cached.tested["test"] == figures and any((folder / "features").iterdir())


def test_zero_shot(run, folder, encoded):
    for number, wnid in enumerate(WNIDS):
        (folder / "set" / wnid).mkdir(parents=True)
        for place in range(2):
            colour = (200 * number, 50 * place, 99)
            (folder / "set" / wnid / f"{place}.jpg").write_bytes(encoded(colour, size=(32, 32)))
    section = {"set": "imagenet_a", "root": str(folder / "set"), "vis_processor": vis()}
    figures = run("tldr_zero_shot", {"tldr_zero_shot": section}, "val", templates="single").tested["val"]
    assert figures["chance"] == 0.5 and 0 <= figures["acc"] <= figures["acc5"] <= 100
    # A frozen tower's features, computed once, stand in for the images, which may then be gone.
    section["feature_cache"] = str(folder / "features")
    cached = {"templates": "single", "freeze_vit": True}
    assert run("tldr_zero_shot", {"tldr_zero_shot": section}, "val", **cached).tested["val"] == figures
    for image in (folder / "set").rglob("*.jpg"):
        image.write_bytes(b"gone")
    assert run("tldr_zero_shot", {"tldr_zero_shot": section}, "val", **cached).tested["val"] == figures


def test_unknown_key_and_model_that_can_not(run):
    with pytest.raises(ValueError, match="unknown key run.templatess"):
        run("tldr_zero_shot", {"tldr_zero_shot": {}}, "val", templatess="single")
