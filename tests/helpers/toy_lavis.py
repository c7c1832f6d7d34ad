"""A LAVIS model, dataset and task small enough to train in a test; importing this registers them."""

import json
from pathlib import Path

import torch
from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder
from lavis.models.base_model import BaseModel
from lavis.tasks.base_task import BaseTask

RUN_KEYS = ("toy_key",)


@registry.register_model("toy_model")
class ToyModel(BaseModel):
    # Filled in by write_toy_run: LAVIS wants a default file for each type.
    PRETRAINED_MODEL_CONFIG_DICT = {}

    def __init__(self, width):
        super().__init__()
        self.layer = torch.nn.Linear(2, width)

    @classmethod
    def from_config(cls, cfg):
        return cls(width=cfg.width)

    def forward(self, samples):
        return {"loss": self.layer(samples["x"]).square().mean()}


class ToyDataset(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"x": torch.tensor([index, 1.0])}

    def collater(self, samples):
        return {"x": torch.stack([sample["x"] for sample in samples])}


@registry.register_builder("toy_dataset")
class ToyBuilder(BaseDatasetBuilder):
    DATASET_CONFIG_DICT = {}

    def build_datasets(self):
        return {"train": ToyDataset()}


@registry.register_task("toy_task")
class ToyTask(BaseTask):
    def evaluation(self, model, data_loader, cuda_enabled=True):
        return []


def write_toy_run(folder: Path, **run) -> Path:
    """Write the defaults and a run's YAML (JSON is YAML) into ``folder``; returns the run's file."""
    for size, width in (("small", 3), ("large", 5)):
        path = folder / f"toy_{size}.yaml"
        path.write_text(json.dumps({"model": {"arch": "toy_model", "width": width}}))
        ToyModel.PRETRAINED_MODEL_CONFIG_DICT[size] = str(path)
    default = folder / "toy_dataset.yaml"
    default.write_text(json.dumps({"datasets": {"toy_dataset": {"data_type": "images"}}}))
    ToyBuilder.DATASET_CONFIG_DICT["default"] = str(default)
    settings = {
        "task": "toy_task",
        "lr_sched": "linear_warmup_cosine_lr",
        "init_lr": 0.1,
        "min_lr": 0.1,
        "weight_decay": 0.0,
        "max_epoch": 1,
        "batch_size_train": 2,
        "batch_size_eval": 2,
        "num_workers": 0,
        "seed": 7,
        "output_dir": "runs",
        "train_splits": ["train"],
        "device": "cpu",
        **run,
    }
    config = {
        "model": {"arch": "toy_model", "model_type": "small"},
        "datasets": {"toy_dataset": {}},
        "run": settings,
    }
    path = folder / "run.yaml"
    path.write_text(json.dumps(config))
    return path
