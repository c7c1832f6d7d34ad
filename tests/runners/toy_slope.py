"""A toy for the runners: learn y = 2 x, one weight."""

import torch
from lavis.models.base_model import BaseModel, MomentumDistilationMixin
from lavis.tasks.base_task import BaseTask
from omegaconf import OmegaConf
from torch.utils.data import Dataset, default_collate

from lavis_tldr.datasets.unreadable import UnreadableImages
from lavis_tldr.runners import RunnerCPU


class Line(Dataset):
    """Sample i is x = i / 10, y = 2 x."""

    def __init__(self, size):
        self.size = size
        self.collater = default_collate

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return {"x": torch.tensor([index / 10]), "index": index}


class GappyLine(Line):
    """Says of the samples of ``bad`` that they can't be read, and gives them all the same."""

    def __init__(self, size, bad):
        super().__init__(size)
        self.bad = bad
        self.unreadable = UnreadableImages(size, "it is given all the same")

    def __getitem__(self, index):
        if index in self.bad:
            self.unreadable.meet(index, f"line {index}", "bent")
        return super().__getitem__(index)


class Slope(BaseModel):
    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Linear(1, 1, bias=False)
        self.frozen = torch.nn.Linear(1, 1, bias=False).requires_grad_(False)
        torch.nn.init.zeros_(self.slope.weight)
        torch.nn.init.ones_(self.frozen.weight)
        self.seen = []
        self.dtypes = set()

    def forward(self, samples):
        predicted = self.slope(self.frozen(samples["x"]))
        self.dtypes.add(predicted.dtype)
        if self.training:
            self.seen.append(samples["index"].tolist())
        return {"loss": ((predicted.float() - 2 * samples["x"]) ** 2).mean()}


class MomentumSlope(Slope, MomentumDistilationMixin):
    def __init__(self):
        super().__init__()
        self.slope_m = torch.nn.Linear(1, 1, bias=False)
        self.model_pairs = [[self.slope, self.slope_m]]
        self.momentum = 0.5
        self.copy_params()

    def forward(self, samples):
        if self.training:
            self._momentum_update()
        return super().forward(samples)


class SlopeTask(BaseTask):
    """Validation metric: given per call by ``scores``, so that a test can choose the best epoch."""

    def __init__(self, scores=()):
        super().__init__()
        self.scores = list(scores)
        self.evaluated = []

    def valid_step(self, model, samples):
        return samples["index"].tolist()

    def after_evaluation(self, val_result, split_name, epoch):
        self.evaluated.append((split_name, epoch, val_result))
        return {"agg_metrics": self.scores.pop(0)} if self.scores else {"seen": len(val_result)}


class RunConfig:
    def __init__(self, **run):
        self.config = OmegaConf.create({"run": run})
        self.run_cfg = self.config.run

    def to_dict(self):
        return OmegaConf.to_container(self.config)


def make_runner(folder, model=None, datasets=None, scores=(), runner=RunnerCPU, **changes):
    run = {
        "device": "cpu",
        "output_dir": str(folder),
        "lr_sched": "linear_warmup_cosine_lr",
        "init_lr": 0.1,
        "min_lr": 0.1,
        "weight_decay": 0.0,
        "max_epoch": 2,
        "batch_size_train": 4,
        "batch_size_eval": 4,
        "num_workers": 0,
        "seed": 7,
        "evaluate": False,
        "train_splits": ["train"],
        **changes,
    }
    datasets = datasets or {"line": {"train": Line(10), "val": Line(6), "test": Line(5)}}
    return runner(RunConfig(**run), SlopeTask(scores), model or Slope(), datasets, job_id="job")
