"""A ViLT through LAVIS's own tasks, datasets and processors: pretrained, then its retrieval, from run configs."""

import json
import random

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from vilts import CAPTIONS, write_vocabulary

from lavis_tldr.train import run

HALF = [0.5, 0.5, 0.5]
RUN = {
    "runner": "runner_cpu",
    "device": "cpu",
    "lr_sched": "linear_warmup_cosine_lr",
    "init_lr": 1e-3,
    "min_lr": 1e-5,
    "weight_decay": 0.01,
    "warmup_steps": 0,
    "max_epoch": 2,
    "batch_size_train": 3,
    "batch_size_eval": 2,
    "num_workers": 0,
    "log_freq": 1,
    "seed": 1,
}


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    """Six images of noise with a caption each, as a reduced set and as a retrieval set."""
    folder = tmp_path_factory.mktemp("reduced")
    (folder / "images").mkdir()
    for i in range(len(CAPTIONS)):
        noise = random.Random(i).randbytes(40 * 40 * 3)
        Image.frombytes("RGB", (40, 40), noise).save(folder / f"images/{i}.png")
    rows = [
        {"image": f"{i}.png", "caption": caption, "key": str(i), "image_id": i} for i, caption in enumerate(CAPTIONS)
    ]
    (folder / "annotations.json").write_text(json.dumps(rows))
    (folder / "retrieval.json").write_text(json.dumps([{**row, "caption": [row["caption"]]} for row in rows]))
    return folder


def run_config(path, model: dict, datasets: dict, **run_keys):
    config = {"model": model, "datasets": datasets, "run": {**RUN, "output_dir": str(path / "runs"), **run_keys}}
    OmegaConf.save(OmegaConf.create(config), path / "run.yaml")
    return run(path / "run.yaml")


def test_pretrains_and_retrieves_by_stock_tasks(reduced, tmp_path, capsys):
    image = {"image_size": 32, "mean": HALF, "std": HALF}
    pretraining = run_config(
        tmp_path,
        {"arch": "vilt_pretrain", "model_type": "tiny", "vocabulary": str(write_vocabulary(tmp_path)), "dropout": 0.1},
        {"tldr_reduced": {"path": str(reduced), "vis_processor": {"train": {"name": "blip_image_train", **image}}}},
        task="image_text_pretrain",
        train_splits=["train"],
    )
    (checkpoint,) = pretraining.output_dir.glob("checkpoint_last.pth")
    state = torch.load(checkpoint, weights_only=True)["model"]
    trained = pretraining.unwrap_dist_model(pretraining.model).state_dict()
    assert state.keys() == trained.keys()
    annotations = {"url": str(reduced / "retrieval.json"), "storage": str(reduced / "retrieval.json")}
    retrieval = run_config(
        tmp_path,
        {"arch": "vilt_retrieval", "model_type": "tiny", "load_pretrained": True, "pretrained": str(checkpoint)},
        {
            "flickr30k": {
                "vis_processor": {"eval": {"name": "blip_image_eval", **image}},
                "text_processor": {"eval": {"name": "blip_caption"}},
                "build_info": {
                    "annotations": {"train": annotations, "val": annotations, "test": annotations},
                    "images": {"storage": str(reduced / "images")},
                },
            }
        },
        task="retrieval",
        evaluate=True,
        test_splits=["test"],
        use_dist_eval_sampler=False,
    )
    (line,) = (retrieval.output_dir / "evaluate.txt").read_text().splitlines()
    result = json.loads(line)
    # Six captions: one of ten is always among the first.
    assert result["txt_r10"] == result["img_r10"] == 100 and 0 <= result["txt_r1"] <= 100
