"""Stock LAVIS fine-tuning (blip_retrieval, task retrieval) starts from a converted pretraining, on the CPU."""

import json

import torch
import yaml
from lavis.models.blip_models.blip_retrieval import BlipRetrieval
from PIL import Image
from tiny_blip import IMAGE_SIZE, QUEUE_SIZE, build_tiny_pretraining, register_tiny

from lavis_tldr.models.conversion.outcome import Wishes
from lavis_tldr.models.conversion.targets import convert
from lavis_tldr.train import run

NUM_IMAGES = 6


def write_set(folder):
    """A retrieval set in LAVIS's form: annotations that are their own storage, and plain images."""
    (folder / "images").mkdir()
    for i in range(NUM_IMAGES):
        Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), (40 * i, 255 - 40 * i, 90)).save(folder / f"images/{i}.png")
    train = [{"image": f"{i}.png", "caption": f"picture {i}", "image_id": i} for i in range(NUM_IMAGES)]
    for split, records in {
        "train": train,
        "val": [{**record, "caption": [record["caption"]]} for record in train],
        "test": [{**record, "caption": [record["caption"]]} for record in train],
    }.items():
        (folder / f"{split}.json").write_text(json.dumps(records))
    annotations = {
        split: {name: str(folder / f"{split}.json") for name in ("url", "storage")}
        for split in ("train", "val", "test")
    }
    return {"annotations": annotations, "images": {"storage": str(folder / "images")}}


def processors(image_size):
    kinds = {"train": "blip_image_train", "eval": "blip_image_eval"}
    return {
        "vis_processor": {split: {"name": name, "image_size": image_size} for split, name in kinds.items()},
        "text_processor": {split: {"name": "blip_caption"} for split in kinds},
    }


def test_stock_retrieval_is_fine_tuned_from_a_converted_checkpoint(tmp_path, monkeypatch):
    register_tiny(tmp_path, monkeypatch)
    state = build_tiny_pretraining().state_dict()
    path = tmp_path / "retrieval.pth"
    torch.save(convert({"model": state}, "blip_retrieval", Wishes(model_type="tiny")).content, path)
    started = {}
    load = BlipRetrieval.load_from_pretrained

    def load_and_look(self, url_or_filename):
        message = load(self, url_or_filename)
        started.update({name: value.clone() for name, value in self.state_dict().items()}, _message=message)
        return message

    monkeypatch.setattr(BlipRetrieval, "load_from_pretrained", load_and_look)
    config = {
        "model": {"arch": "blip_retrieval", "model_type": "tiny", "load_finetuned": False, "pretrained": str(path)},
        "datasets": {"flickr30k": {"build_info": write_set(tmp_path), **processors(IMAGE_SIZE)}},
        "run": {
            "task": "retrieval",
            "runner": "runner_cpu",
            "device": "cpu",
            "lr_sched": "linear_warmup_cosine_lr",
            "init_lr": 1e-3,
            "min_lr": 0,
            "weight_decay": 0.05,
            "max_epoch": 1,
            "batch_size_train": 3,
            "batch_size_eval": 3,
            "num_workers": 0,
            "k_test": NUM_IMAGES,
            "train_splits": ["train"],
            "valid_splits": ["val"],
            "test_splits": [],
            "output_dir": str(tmp_path / "output"),
            "job_id": "job",
            "world_size": 1,
            "distributed": False,
        },
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    run(tmp_path / "run.yaml")
    message = started.pop("_message")
    assert (message.missing_keys, message.unexpected_keys) == ([], [])
    kept = [name for name in state if name in started and name != "queue_ptr"]
    assert len(kept) == len(started) - 2  # all but the pointer and idx_queue
    assert all(torch.equal(started[name], state[name]) for name in kept)
    saved = torch.load(tmp_path / "output/job/checkpoint_best.pth")["model"]
    name = "text_encoder.encoder.layer.0.crossattention.self.value.weight"
    assert not torch.equal(saved[name], state[name]) and torch.isfinite(saved[name]).all()
    assert saved["idx_queue"][0, :NUM_IMAGES].sort()[0].tolist() == list(range(NUM_IMAGES))
    assert saved["idx_queue"][0, NUM_IMAGES:].tolist() == [-100] * (QUEUE_SIZE - NUM_IMAGES)
    log = (tmp_path / "output/job/log.txt").read_text()
    assert "val_agg_metrics" in log and "train_loss" in log
