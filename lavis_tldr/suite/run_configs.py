"""The run config of an evaluation of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from lavis_tldr.suite.architectures import Load
from lavis_tldr.suite.checkpoint import JudgedCheckpoint
from lavis_tldr.suite.evaluations import Evaluation, Split

SECTIONS = ("run", "model", "datasets", "vis_processor")
# Of a stock model's config, what a pretraining's of the same sizes has too.
_STOCK_KEYS = ("image_size", "embed_dim", "med_config_path", "vit_type", "queue_size")


@dataclass(frozen=True)
class Wishes:
    """What the user wants otherwise.

    Attributes:
        options: "key=value" over all run configs. ``vis_processor.KEY`` is the image processor of whichever dataset;
            a dataset's own options count where it is evaluated on.
        device: "auto", "cpu" or "cuda".
    """

    options: Sequence[str] = ()
    device: str = "auto"

    def __post_init__(self):
        for option in self.options:
            section = option.split(".")[0]
            if "=" not in option or "." not in option.split("=")[0] or section not in SECTIONS:
                raise ValueError(
                    f"--options takes SECTION.KEY=VALUE with a section of {', '.join(SECTIONS)}, found {option!r}; for "
                    "instance --options run.k_test=32 vis_processor.image_size=224"
                )

    def of(self, dataset: str) -> DictConfig:
        """Those for an evaluation on ``dataset``, as a config."""
        kept = [option for option in self.options if not option.startswith("datasets.")]
        kept += [option for option in self.options if option.startswith(f"datasets.{dataset}.")]
        return OmegaConf.from_dotlist(kept)


def run_config(
    evaluation: Evaluation,
    splits: Iterable[Split],
    judged: JudgedCheckpoint,
    folder: Path,
    weights: Path,
    wishes: Wishes,
) -> DictConfig:
    """What `train.run_config` takes to evaluate a checkpoint.

    Args:
        evaluation: The evaluation.
        splits: Of its splits, those that are evaluated on.
        judged: The checkpoint.
        folder: The set's.
        weights: The checkpoint's file, or what it was converted to.
        wishes: The user's.
    """
    splits = list(splits)
    section: dict = {}
    for split in splits:
        section.update(evaluation.section(folder, split))
    asked = wishes.of(evaluation.dataset)
    processor = OmegaConf.merge(judged.image_processor or {}, asked.pop("vis_processor", {}))
    if processor:
        section["vis_processor"] = {"eval": processor}
    load = judged.architecture.skills[evaluation.skill]
    config = {
        "model": model_section(judged, load, weights),
        "datasets": {evaluation.dataset: section},
        "run": {
            "task": evaluation.task,
            "runner": "runner_tldr",
            "evaluate": True,
            "device": wishes.device,
            "train_splits": [],
            "valid_splits": [],
            "test_splits": [split.name for split in splits],
            "batch_size_train": 1,  # LAVIS makes loaders with it, of no set
            "batch_size_eval": 32,
            "num_workers": 2,
            "distributed": True,  # where there are other processes
            **evaluation.run,
            **evaluation.run_of.get(judged.architecture.family, {}),
        },
    }
    return OmegaConf.merge(config, asked)


def model_section(judged: JudgedCheckpoint, load: Load, weights: Path) -> dict:
    """The ``model`` section under which a checkpoint is evaluated."""
    if load.converted:
        sizes = {key: judged.model[key] for key in _STOCK_KEYS if judged.model.get(key) is not None}
        own = {"model_type": _first_type(load.arch), **sizes}
    else:
        own = {**judged.model, "load_pretrained": False, "pretrained": None}
    return {**own, "arch": load.arch, "load_finetuned": True, "finetuned": str(weights)}


def _first_type(arch: str) -> str:
    from lavis.common.registry import registry

    return next(iter(registry.get_model_class(arch).PRETRAINED_MODEL_CONFIG_DICT))
