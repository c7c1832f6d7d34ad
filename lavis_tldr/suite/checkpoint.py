"""What a checkpoint is: its model's config, how its images were made ready, what it was trained on and from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lavis_tldr.files import file_digest
from lavis_tldr.suite.architectures import Architecture, architecture_of

TRAINING = "training.json"  # `runners.training_record` writes it beside checkpoints
_ACCOUNT = ("num_pairs", "updates", "samples_seen", "device", "num_processes", "device_hours")
# Keys of a model's config that say what it was started from, or that a part of it was kept still.
_STARTED = ("vit_weights", "text_weights", "freeze_vit", "freeze_text", "freeze_layers", "vit_type", "architecture")
_SIZES = ("image_size", "mean", "std")
_OF_PROCESSOR = "vis_processor"


@dataclass(frozen=True)
class JudgedCheckpoint:
    """A checkpoint to evaluate.

    Attributes:
        path: The file.
        model: The ``model`` section that it was trained with.
        datasets: The ``datasets`` section, or {}.
        seed: Of its training; None if unknown.
    """

    path: Path
    model: dict[str, Any]
    datasets: dict[str, Any]
    seed: int | None

    @property
    def arch(self) -> str:
        return self.model["arch"]

    @property
    def architecture(self) -> Architecture:
        return architecture_of(self.arch)

    @property
    def label(self) -> str:
        """A name for it: its folder's."""
        return self.path.absolute().parent.name

    @cached_property
    def digest(self) -> str:
        return file_digest(self.path)

    @property
    def image_processor(self) -> dict | None:
        """How images come to the model as in training, without augmentation; None if its config does not tell."""
        return image_processor_of(self.datasets)

    @property
    def initialisation(self) -> str:
        """In words: what its parts were started from, and which were kept still."""
        told = [f"{key} {_shown(value)}" for key in _STARTED if (value := self.model.get(key)) not in (None, False, 0)]
        if self.model.get("pretrained") and self.model.get("load_pretrained", True):
            told.append(f"pretrained {_shown(self.model['pretrained'])}")
        return ", ".join(told) or "random"

    @property
    def account(self) -> dict[str, Any]:
        """What its training saw and took, of the record beside it; {} without one."""
        path = self.path.absolute().parent / TRAINING
        if not path.is_file():
            return {}
        told = json.loads(path.read_text(encoding="utf-8"))
        return {name: told[name] for name in _ACCOUNT if name in told}


def read_judged(path: str | Path, config: str | Path | None = None) -> JudgedCheckpoint:
    """Find out what a checkpoint is of.

    Args:
        path: A file that a LAVIS runner saved.
        config: The run config that it was trained with; None: as the checkpoint itself tells.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If there is no such checkpoint, it is of a model that can't be evaluated, or nobody tells of which.
    """
    from omegaconf import OmegaConf

    from lavis_tldr.runners.checkpoint import read_checkpoint
    from lavis_tldr.train import load_yaml

    path = Path(path)
    told = read_checkpoint(path).get("config") if config is None else load_yaml(config)
    if not told or not told.get("model", {}).get("arch"):
        raise ValueError(
            f"{path if config is None else config} does not tell which model it is of (no model.arch): give the run "
            "config that it was trained with, --config RUN.yaml."
        )
    sections = OmegaConf.to_container(OmegaConf.create(dict(told)), resolve=True)
    architecture_of(sections["model"]["arch"])
    seed = (sections.get("run") or {}).get("seed")
    return JudgedCheckpoint(
        path, sections["model"], sections.get("datasets") or {}, seed if seed is None else int(seed)
    )


def image_processor_of(datasets: Mapping[str, Mapping]) -> dict | None:
    """The image processor of evaluation that goes with a run's: the one it has, or its training's less augmentation.

    A set's own ``eval`` counts only where no set is trained on, or its images are of the training's size: packaged
    defaults have one that nobody looked at.
    """
    processors = [section.get(_OF_PROCESSOR) or {} for section in datasets.values()]
    trained = next((found["train"] for found in processors if found.get("train")), None)
    evaluated = [found["eval"] for found in processors if found.get("eval")]
    if trained is None:
        return dict(evaluated[0]) if evaluated else None
    wanted = {key: trained[key] for key in _SIZES if trained.get(key) is not None}
    for found in evaluated:
        if {key: found[key] for key in _SIZES if found.get(key) is not None} == wanted:
            return dict(found)
    name = "clip_image_eval" if trained.get("name") == "clip_image_train" else "blip_image_eval"
    return {"name": name, **wanted}


def _shown(value) -> str:
    return Path(value).name if isinstance(value, str) else str(value)
