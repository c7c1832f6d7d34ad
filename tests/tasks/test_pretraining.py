"""The pretraining task: parts of the loss, and features of frozen towers computed once."""

import csv
import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lavis.common.registry import registry
from lavis.models.base_model import BaseModel
from lavis.models.vit import VisionTransformer
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from lavis_tldr import train
from lavis_tldr.tasks.pretraining import PretrainingTask

NAME = "toy_two_towers"


class TwoTowers(BaseModel):
    """A frozen ViT and a linear layer that tells how long a caption is."""

    PRETRAINED_MODEL_CONFIG_DICT = {}

    def __init__(self, frozen: bool):
        super().__init__()
        torch.manual_seed(0)
        self.visual_encoder = VisionTransformer(
            img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=2, norm_layer=partial(nn.LayerNorm, eps=1e-6)
        )
        if frozen:
            self.visual_encoder.requires_grad_(False)
        self.head = nn.Linear(8, 1)
        self.given = set()

    @classmethod
    def from_config(cls, cfg):
        return cls(bool(cfg.get("freeze_vit", True)))

    def forward(self, samples):
        self.given |= {name for name in ("image", "image_features") if name in samples}
        tokens = samples["image_features"] if "image_features" in samples else self.visual_encoder(samples["image"])
        wanted = torch.tensor([float(len(caption)) for caption in samples["text_input"]])[:, None]
        loss = ((self.head(tokens[:, 0]) - wanted) ** 2).mean()
        return {"loss": loss, "loss_itc": loss.detach() / 4, "sims": tokens}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    default = tmp_path / "toy.yaml"
    default.write_text(f"model: {{arch: {NAME}, freeze_vit: True}}\n")
    monkeypatch.setattr(TwoTowers, "PRETRAINED_MODEL_CONFIG_DICT", {"base": str(default)})
    monkeypatch.setitem(registry.mapping["model_name_mapping"], NAME, TwoTowers)
    (tmp_path / "set" / "images").mkdir(parents=True)
    records = []
    for number in range(12):
        Image.new("RGB", (16, 16), (20 * number, 0, 0)).save(tmp_path / "set" / "images" / f"{number}.png")
        captions = {"caption": "a" * (number + 1), "caption_original": "b", "caption_generated": "c"}
        records.append({"image": f"{number}.png", "key": f"k{number}", **captions})
    (tmp_path / "set" / "annotations.json").write_text(json.dumps(records))
    return tmp_path


def run(folder, model=None, run_keys=None, **dataset):
    processors = {split: {"name": "blip_image_eval", "image_size": 16} for split in ("train", "eval")}
    config = {
        "model": {"arch": NAME, "model_type": "base", **(model or {})},
        "datasets": {"tldr_reduced": {"path": str(folder / "set"), "vis_processor": processors, **dataset}},
        "run": {
            "task": "tldr_pretrain",
            "runner": "runner_pretrain",
            "device": "cpu",
            "lr_sched": "linear_warmup_cosine_steps",
            "init_lr": 0.01,
            "min_lr": 0.0,
            "weight_decay": 0.0,
            "max_epoch": 1,
            "max_steps": 6,
            "log_freq": 1,
            "batch_size_train": 4,
            "batch_size_eval": 4,
            "num_workers": 0,
            "output_dir": str(folder / "out"),
            "job_id": f"job{len(dataset)}",
            "evaluate": False,
            "train_splits": ["train"],
        },
    }
    config["run"] = {key: value for key, value in {**config["run"], **(run_keys or {})}.items() if value is not None}
    return train.run_config(OmegaConf.create(config))


def losses(runner):
    with open(runner.output_dir / "training.csv", newline="") as file:
        return [(float(row["loss"]), float(row["loss_itc"])) for row in csv.DictReader(file)]


def test_the_parts_of_the_loss_are_logged(toy):
    found = losses(run(toy))
    assert len(found) == 6
    assert all(part == pytest.approx(loss / 4, rel=1e-4) for loss, part in found)


def test_cached_features_train_as_the_images_do(toy):
    with_images = run(toy)
    with_features = run(toy, feature_cache=str(toy / "features"))
    assert with_images.unwrap_dist_model(with_images.model).given == {"image"}
    assert with_features.unwrap_dist_model(with_features.model).given == {"image_features"}
    for (loss, _), (same, _) in zip(losses(with_images), losses(with_features), strict=True):
        assert same == pytest.approx(loss, rel=2e-3)  # features are kept in float16


def test_features_of_a_moving_tower_are_refused(toy):
    with pytest.raises(ValueError, match="freeze_vit: True"):
        run(toy, model={"freeze_vit": False}, feature_cache=str(toy / "features"))


def test_an_image_without_features_gives_way_to_the_next(toy):
    (toy / "set" / "images" / "3.png").write_bytes(b"rotten")
    runner = run(toy, feature_cache=str(toy / "features"))
    assert len(losses(runner)) == 6
    listed = (runner.output_dir / "unreadable.tsv").read_text()
    assert "3.png" in listed and "4.png" not in listed


def test_what_a_config_leaves_out_is_as_in_the_paper():
    run = OmegaConf.create({"task": "tldr_pretrain", "init_lr": 1e-4})
    PretrainingTask.setup_task(SimpleNamespace(run_cfg=run))
    assert run.init_lr == 1e-4
    paper = {"max_epoch": 20, "global_batch_size": 1260, "weight_decay": 0.05, "lr_decay_rate": 0.85}
    assert {name: run[name] for name in paper} == paper
    own = OmegaConf.create({"task": "tldr_pretrain", "batch_size_train": 8})
    PretrainingTask.setup_task(SimpleNamespace(run_cfg=own))
    assert "global_batch_size" not in own


@pytest.mark.parametrize(
    ("device", "emulated", "expected"), [("cpu", True, False), ("cpu", False, True), ("cuda", True, True)]
)
def test_bfloat16_is_the_default_where_it_is_not_emulated(monkeypatch, device, emulated, expected):
    monkeypatch.setattr("lavis_tldr.tasks.run_defaults.emulates_bfloat16", lambda: emulated)
    run = OmegaConf.create({"task": "tldr_pretrain", "device": device})
    PretrainingTask.setup_task(SimpleNamespace(run_cfg=run))
    assert run.bf16 is expected


def test_a_global_batch_is_shared_out_before_anything_is_checked(toy):
    config = {"global_batch_size": 6, "batch_size_train": None}
    runner = run(toy, run_keys=config)
    assert runner.record.samples_seen == 36 and runner.config.run_cfg.batch_size_train == 6
