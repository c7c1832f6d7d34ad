"""Reads the config of `clip_pretrain`, builds what the model is made of, and says what is wrong with a config."""

import json
import logging
from pathlib import Path
from typing import NamedTuple

from lavis.common.utils import get_abs_path
from omegaconf import OmegaConf

from lavis_tldr.models.tokenizer import CaptionTokenizer
from lavis_tldr.models.towers import (
    asked_checkpoint,
    build_text_network,
    build_vit,
    find_vocabulary,
    read_state,
    read_text_weights,
)
from lavis_tldr.user_errors import closest

logger = logging.getLogger(__name__)

_CONFIGS = Path(__file__).parent.parent / "configs" / "models"
_OTHER_KEYS = {"arch", "model_type"}  # read by LAVIS itself
# What a state of either kind has and one of the other kind has not.
_OF_STOCK, _OF_TWO_TOWERS = "visual.conv1.weight", "vision_proj.weight"


class Checkpoint(NamedTuple):
    """Weights to load.

    Attributes:
        state: The weights.
        path: Their file.
    """

    state: dict
    path: str


def read_clip_config(cfg) -> tuple[dict, Checkpoint | None]:
    """Checked values of a config, and the checkpoint that it names.

    Args:
        cfg: The ``model`` section of a run config, merged with the packaged default of its model type. With
            ``architecture`` it is of LAVIS's towers, else of two towers of our own.

    Raises:
        ValueError: If a key is unknown, a value out of range, or the checkpoint absent or another model's.
    """
    cfg = OmegaConf.to_container(cfg, resolve=True)
    has_stock_towers = "architecture" in cfg
    default = OmegaConf.load(_CONFIGS / f"clip_pretrain_{'vit_b_32' if has_stock_towers else 'base'}.yaml")
    known = set(default.model) | _OTHER_KEYS
    for key in cfg:
        if key not in known:
            raise ValueError(f"unknown key model.{key}{closest(key, known)}.")
    if not 0 <= cfg["patch_dropout"] < 1:
        raise ValueError(f"model.patch_dropout is {cfg['patch_dropout']}; expected a share of patches, in [0, 1).")
    if cfg["max_text_length"] < 3:
        raise ValueError(f"model.max_text_length is {cfg['max_text_length']}; expected 3 tokens or more.")
    return cfg, _read_checkpoint(cfg, has_stock_towers)


def _read_checkpoint(cfg: dict, has_stock_towers: bool) -> Checkpoint | None:
    """What ``load_finetuned`` or else ``load_pretrained`` asks for."""
    kind = asked_checkpoint(cfg)
    if kind is None:
        return None
    path = cfg[kind]
    if not path:
        raise ValueError(f"model.load_{kind} is True but model.{kind} names no checkpoint.")
    state = read_state(path, f"model.{kind}")
    wanted = _OF_STOCK if has_stock_towers else _OF_TWO_TOWERS
    if wanted not in state or not (has_stock_towers or "_extra_state" in state):
        other = _OF_TWO_TOWERS if has_stock_towers else _OF_STOCK
        found = "another kind of clip_pretrain: use the model_type that it was trained with"
        raise ValueError(f"model.{kind}: {path} is of {found if other in state else 'something else'}.")
    return Checkpoint(state, str(path))


def build_stock_towers(cfg: dict) -> dict:
    """What `ClipPretrain` takes, of a checked config.

    Raises:
        ValueError: If there is no such architecture, or its image tower is no plain ViT.
    """
    name = cfg["architecture"]
    folder = Path(get_abs_path("configs/models/clip"))
    path = Path(name) if str(name).endswith(".json") else folder / f"{name}.json"
    if not path.is_file():
        stems = [file.stem for file in folder.glob("*.json")]
        raise ValueError(f"model.architecture: there is no {path}{closest(name, stems)}.")
    parts = json.loads(path.read_text())
    vision, text = parts["vision_cfg"], parts["text_cfg"]
    if "timm_model_name" in vision or not isinstance(vision["layers"], int):
        raise ValueError(f"model.architecture {name}: expected one with a plain ViT, such as ViT-B-32.")
    vision["image_size"] = cfg["image_size"]
    if vision["image_size"] % vision["patch_size"]:
        raise ValueError(f"image_size {vision['image_size']} is no multiple of the patch size {vision['patch_size']}.")
    text["context_length"] = cfg["max_text_length"]
    return {**parts, "loss": cfg["loss"], "patch_dropout": cfg["patch_dropout"]}


def build_two_towers(cfg: dict, checkpoint: Checkpoint | None) -> dict:
    """What `TwoTowerClip` takes, of a checked config.

    Weights that the checkpoint holds are not read from where they once came from.

    Raises:
        ValueError: If sizes or weight files are wrong, or there is no vocabulary.
    """
    state = {} if checkpoint is None else checkpoint.state
    held = {name.split(".")[0] for name in state}
    if "visual_encoder" in held:
        cfg = {**cfg, "vit_weights": None}
    elif cfg["freeze_vit"] and not cfg["vit_weights"]:
        logger.warning("model.freeze_vit is True without model.vit_weights: the image tower stays random.")
    bert = read_text_weights(cfg) if cfg["text_weights"] and "text_encoder" not in held else None
    tokens = find_vocabulary(cfg, state or None, bert)
    if tokens is None:
        raise ValueError(
            "the text tower has no vocabulary. Give model.text_weights (a BERT's folder or hub name) or "
            "model.vocabulary (a vocab.txt)."
        )
    positions = state.get("text_encoder.position_embeddings.weight")
    max_positions = None if positions is None else len(positions)
    text_encoder = build_text_network(cfg, len(tokens), bert, max_positions=max_positions)
    longest = len(text_encoder.position_embeddings.weight)
    if cfg["max_text_length"] > longest:
        raise ValueError(f"model.max_text_length is {cfg['max_text_length']}; the text tower has {longest} positions.")
    options = ("embed_dim", "max_text_length", "loss", "patch_dropout", "freeze_vit", "freeze_text")
    return {
        "visual_encoder": build_vit(cfg),
        "text_encoder": text_encoder,
        "tokenizer": CaptionTokenizer(tokens),
        **{name: cfg[name] for name in options},
    }
