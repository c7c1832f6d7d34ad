"""An arm's reduction with one seed: its config, running it with model and data loaded once, and what it has made."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from lavis_tldr.ablation.settings import Ablation, Arm
from lavis_tldr.ablation.steps import override
from lavis_tldr.files import file_digest
from lavis_tldr.runs.manifest import digest_of
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import shared_variants
from lavis_tldr.stages.reduce_config import ReduceConfig, objective_values
from lavis_tldr.train import build_parts, load_user_config, run_config

# Where a reduction lies does not change what is kept.
_NOT_DECIDING = ("name", "output_dir")


def set_name(ablation: Ablation, arm: Arm, seed: int) -> str:
    """Name of the reduced set in its run folder, which several ablations may share."""
    return f"{ablation.name}-{arm.slug}-seed{seed}"


def reduction_config(ablation: Ablation, arm: Arm, seed: int) -> DictConfig:
    """The config of one reduction.

    Images stay where they are and every image is captioned once, for all arms, unless the ablation says otherwise.

    Raises:
        ValueError: If the base is no reduction's config.
    """
    config = load_user_config(arm.base)
    for overrides in ({"run.images": "in_place", "run.caption_all": True}, *arm.overrides):
        override(config, overrides, {"arm": arm.slug, "seed": seed})
    if config.run.get("task") != "tldr_reduce":
        raise ValueError(
            f"arm {arm.name!r}: its base {arm.base} has run.task {config.run.get('task')}; an arm is a reduction, "
            "tldr_reduce."
        )
    override(config, {"run.seed": seed, "run.name": set_name(ablation, arm, seed)}, {})
    return config


def deciding(config: DictConfig) -> dict:
    """What a reduction's config says of its outcome, as plain values; variables of the environment stay names."""
    content = OmegaConf.to_container(config, resolve=False)
    run = {**content["run"], **objective_values(content["run"])}
    content["run"] = {key: value for key, value in run.items() if key not in _NOT_DECIDING}
    return content


class LoadedOnce:
    """Datasets and model of the last run, handed on to the next where it asks for the same."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Files may have changed: load anew."""
        self._key, self._parts = "", ()

    def __call__(self, task, cfg) -> tuple:
        sections = {name: OmegaConf.to_container(cfg.config[name], resolve=True) for name in ("model", "datasets")}
        key = digest_of({**sections, "device": str(cfg.run_cfg.device)})
        if key != self._key:
            self.forget()  # before the next is loaded: two need not fit in memory
            self._parts = build_parts(task, cfg)
            self._key = key
        return self._parts


def reduce_set(config: DictConfig, loaded: LoadedOnce, restart: bool = False):
    """Run a reduction.

    Args:
        config: Of the reduction.
        loaded: Datasets and model.
        restart: Select anew, and make all that comes after.

    Returns:
        The runner: its ``model`` and ``datasets`` are those that were used.
    """
    config = config.copy()
    if restart:
        config.run.restart = ["select"]
    return run_config(config, loaded)


def set_folder(config: DictConfig) -> Path:
    """Folder of the reduced set that the config makes, RUN/NAME."""
    return Path(config.run.output_dir) / config.run.name


def ledger_digest(config: DictConfig) -> str:
    """Digest of the reduction's ledger; "" where it is not finished."""
    try:
        return Stage.as_made(set_folder(config), "ledger").digest
    except ValueError:
        return ""


def captioner_digest(config: DictConfig) -> str:
    """Digest of the checkpoint file; "" where it is yet to be trained."""
    path = Path(str(config.model.get("finetuned")))
    return file_digest(path) if path.is_file() else ""


def shared_stages(config: DictConfig) -> dict[Path, bool]:
    """Folders of the shared stages that a reduction needs, each with whether it is done.

    Raises:
        ValueError: For a setting that is out of range.
    """
    settings = ReduceConfig.from_run(config.run)
    root = Path(config.run.output_dir)
    used = shared_variants(settings).items()
    return {root / name / variant: _is_done(root, name, variant) for name, variant in used}


def _is_done(root: Path, name: str, variant: str) -> bool:
    try:
        Stage.as_made(root, name, variant)
    except ValueError:
        return False
    return True
