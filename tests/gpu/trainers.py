"""The trainings that the GPU tests run: one line of `TRAINERS` each."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import yaml

from lavis_tldr.models.wordpiece_training import train_vocabulary

_PROCESSOR = {"image_size": 32}


def _captioner(data: SimpleNamespace) -> dict:
    clean = {"format": "lavis_json", "annotations": str(data.dev), "image_root": str(data.folder / "clean/images")}
    return {
        "model": {
            "arch": "codebook_captioner",
            "model_type": "tiny",
            "image_size": 32,
            "vit_width": 32,
            "text_width": 32,
            "text_depth": 1,
            "num_codes": 64,
            "revive_below": 0.9,  # so that codes are revived in a few steps
        },
        "datasets": {
            "tldr_captions": {
                "train": {"format": "webdataset", "tars": str(data.folder / "tars/*.tar")},
                "val": clean,
                "vis_processor": {"train": _PROCESSOR, "eval": _PROCESSOR},
            }
        },
        "run": {"task": "codebook_captioning", "vocab_size": 200, "max_len": 12, "valid_splits": ["val"]},
    }


def _pretraining(arch: str, **model) -> Callable[[SimpleNamespace], dict]:
    def config(data: SimpleNamespace) -> dict:
        vocabulary = data.folder / "pretraining_vocab.txt"
        vocabulary.write_text("\n".join(train_vocabulary(data.captions, 200)) + "\n", encoding="utf-8")
        sizes = {"image_size": 32, "vocabulary": str(vocabulary), **model}
        return {
            "model": {"arch": arch, "model_type": "tiny", **sizes},
            "datasets": {"tldr_pairs": {"source": data.source, "vis_processor": {"train": _PROCESSOR}}},
            "run": {"task": "tldr_pretrain", "runner": "runner_pretrain", "resume_ckpt_path": None},
        }

    return config


# By name: a config, given the drawn data (the fixture `crowd`); sections model, datasets and run.
TRAINERS: dict[str, Callable[[SimpleNamespace], dict]] = {
    "codebook_captioner": _captioner,
    "clip_pretrain": _pretraining("clip_pretrain"),
    "blip_pretrain_tldr": _pretraining("blip_pretrain_tldr", queue_size=96),
    "vilt_pretrain": _pretraining("vilt_pretrain"),
}


def write_run(name: str, data: SimpleNamespace, folder: Path, device: str, **run) -> Path:
    """A training's YAML: 20 steps or so an epoch; ``run`` keys override."""
    config = TRAINERS[name](data)
    common = {
        "runner": "runner_tldr",
        "device": device,
        "lr_sched": "linear_warmup_cosine_lr",
        "init_lr": 1e-3,
        "min_lr": 1e-5,
        "warmup_steps": 0,
        "weight_decay": 0.05,
        "max_epoch": 1,
        "batch_size_train": 24,
        "batch_size_eval": 8,
        "num_workers": 2,
        "seed": 42,
        "output_dir": str(folder / "output"),
        "train_splits": ["train"],
        "test_splits": [],
    }
    config["run"] = {**common, **config["run"], **run}
    if config["run"]["runner"] == "runner_tldr":
        config["run"]["save_frozen"] = True  # the encoders start random; LAVIS's own runners can't keep them
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
