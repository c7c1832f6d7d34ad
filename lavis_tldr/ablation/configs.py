"""The configs that an ablation runs: of a reduction for each arm and seed, and of the runs around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lavis_tldr.ablation.settings import Ablation, Arm, Step
from lavis_tldr.train import load_user_config

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


def step_config(step: Step, places: Mapping[str, Any]) -> DictConfig:
    """The config of a run, its options set; ``places`` fills in {build} and the like."""
    config = load_user_config(fill_in(step.cfg_path, places))
    override(config, step.options, places)
    return config


def deciding(config: DictConfig) -> dict:
    """What a reduction's config says of its outcome, as plain values; variables of the environment stay names."""
    content = OmegaConf.to_container(config, resolve=False)
    content["run"] = {key: value for key, value in content["run"].items() if key not in _NOT_DECIDING}
    return content


def override(config: DictConfig, overrides: Mapping[str, Any], places: Mapping[str, Any]) -> None:
    """Set keys, dotted or nested, in place."""
    for key, value in overrides.items():
        OmegaConf.update(config, str(key), fill_in(value, places), merge=True)


def fill_in(value: Any, places: Mapping[str, Any]) -> Any:
    """Put ``places`` for {build} and the like in all texts of a value; other braces stay, as of tar patterns."""
    if isinstance(value, Mapping):
        return {key: fill_in(inner, places) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill_in(inner, places) for inner in value]
    if isinstance(value, str):
        for name, filling in places.items():
            value = value.replace("{" + name + "}", str(filling))
    return value
