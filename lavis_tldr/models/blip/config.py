"""Reads the config of `blip_pretrain_tldr`, and says what is wrong with it."""

from pathlib import Path

import torch
from omegaconf import OmegaConf

from lavis_tldr.models.towers import asked_checkpoint
from lavis_tldr.user_errors import closest

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "models"
_OTHER_KEYS = {"arch", "model_type"}  # read by LAVIS itself


def read_config(cfg) -> dict:
    """Checked values of a ``model`` section, merged with the packaged default of its model type.

    Raises:
        ValueError: If a key is unknown or a value out of range.
    """
    cfg = read_known_keys(cfg, "blip_pretrain_tldr")
    if cfg["queue_size"] < 1:
        raise ValueError(f"model.queue_size is {cfg['queue_size']}; expected at least a batch of all processes.")
    if not 0 <= cfg["momentum"] < 1:
        raise ValueError(f"model.momentum is {cfg['momentum']}; expected a share in [0, 1).")
    return cfg


def read_known_keys(cfg, arch: str) -> dict:
    """Values of a ``model`` section whose keys are those of the packaged defaults of ``arch``.

    Raises:
        ValueError: If a key is unknown.
    """
    cfg = OmegaConf.to_container(cfg, resolve=True)
    known = set(OmegaConf.load(CONFIGS / f"{arch}_base.yaml").model) | _OTHER_KEYS
    for key in cfg:
        if key not in known:
            raise ValueError(f"unknown key model.{key}{closest(key, known)}.")
    return cfg


def read_checkpoint(cfg: dict) -> tuple[dict, str] | None:
    """Weights and file that ``load_finetuned`` or else ``load_pretrained`` asks for; None if neither does.

    Raises:
        ValueError: If it names none, or one that holds more than plain weights.
    """
    kind = asked_checkpoint(cfg)
    if kind is None:
        return None
    path = str(cfg[kind] or "")
    if not Path(path).is_file():
        raise ValueError(f"model.load_{kind} is True, but model.{kind} is {path!r}: there is no such file.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)  # refuses what is no plain value
        return content["model"], path
    except Exception as error:
        raise ValueError(f"model.{kind}: {path} is no checkpoint with weights under 'model' ({error}).") from error
