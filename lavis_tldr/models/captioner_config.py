"""Builds the parts of a `CodebookCaptioner` from a LAVIS model config, and says what is wrong with one."""

from pathlib import Path

from omegaconf import OmegaConf

from lavis_tldr.codebook.quantizer import VectorQuantizer
from lavis_tldr.models.tokenizer import CaptionTokenizer
from lavis_tldr.models.towers import (
    BertSource,
    build_text_network,
    build_vit,
    find_vocabulary,
    read_state,
    read_text_weights,
)
from lavis_tldr.user_errors import closest

# Read by LAVIS itself, or by the task that starts the codebook.
_OTHER_KEYS = {"arch", "model_type", "load_finetuned", "load_pretrained", "codebook_init", "keywords_file"}


def build_captioner_parts(cfg) -> tuple[dict, dict, dict | None]:
    """Parts, options and checkpoint of a captioner.

    Args:
        cfg: The ``model`` section of a run config, merged with the packaged default of its model type.

    Returns:
        Parts and options as `CodebookCaptioner` takes them, and the checkpoint to load (``state``, ``path``) or None.

    Raises:
        ValueError: If a key is unknown or a file absent or wrong.
    """
    cfg = OmegaConf.to_container(cfg, resolve=True)
    default_path = Path(__file__).parent.parent / "configs" / "models" / "codebook_captioner_base.yaml"
    known = set(OmegaConf.load(default_path).model) | _OTHER_KEYS
    for key in cfg:
        if key not in known:
            raise ValueError(f"unknown key model.{key}{closest(key, known)}.")
    checkpoint = _read_checkpoint(cfg)
    bert = None
    if cfg["text_weights"] and checkpoint is None:  # a checkpoint holds the whole decoder
        bert = read_text_weights(cfg)
    state = checkpoint["state"] if checkpoint is not None else {}
    tokenizer = _build_tokenizer(cfg, state or None, bert)
    positions = state.get("decoder.position_embeddings.weight")
    max_positions = None if positions is None else len(positions)
    decoder = build_text_network(cfg, len(tokenizer), bert, max_positions=max_positions)
    options = {
        "num_patches": (cfg["image_size"] // cfg["patch_size"]) ** 2,
        "encoder_width": cfg["vit_width"],
        "freeze_encoder": cfg["freeze_vit"],
        "pooled_tokens": cfg["pooled_tokens"],
        "patch_tokens": cfg["patch_tokens"],
        "patch_dropout": cfg["patch_dropout"],
        "max_text_length": cfg["max_text_length"],
        "label_smoothing": cfg["label_smoothing"],
        "commitment_weight": cfg["commitment_weight"],
    }
    parts = {
        "visual_encoder": build_vit(cfg),
        "quantizer": _build_quantizer(cfg),
        "decoder": decoder,
        "tokenizer": tokenizer,
    }
    return parts, options, checkpoint


def _read_checkpoint(cfg: dict) -> dict | None:
    """The checkpoint under ``finetuned`` (with ``load_finetuned``) or ``pretrained``."""
    name = "finetuned" if cfg.get("load_finetuned") else "pretrained"
    path = cfg.get(name)
    if not path:
        if name == "finetuned":
            raise ValueError("model.load_finetuned is True but model.finetuned names no checkpoint.")
        return None
    state = read_state(path, f"model.{name}")
    if "vocabulary" not in (state.get("_extra_state") or {}):
        raise ValueError(f"model.{name}: {path} is not a checkpoint of codebook_captioner (no vocabulary in it).")
    return {"state": state, "path": str(path)}


def _build_tokenizer(cfg: dict, state: dict | None, bert: BertSource | None) -> CaptionTokenizer:
    tokens = find_vocabulary(cfg, state, bert)
    if tokens is None:
        raise ValueError(
            "the captioner has no vocabulary. Give model.text_weights (a BERT's folder or hub name) or "
            "model.vocabulary (a vocab.txt); the task codebook_captioning trains one from the captions when both are "
            "empty."
        )
    return CaptionTokenizer(tokens)


def _build_quantizer(cfg: dict) -> VectorQuantizer | None:
    if not cfg["quantize"]:
        return None
    return VectorQuantizer(
        cfg["num_codes"],
        cfg["vit_width"],
        code_dim=cfg["code_dim"],
        normalize=cfg["normalize_codes"],
        decay=cfg["code_decay"],
        beta=cfg["commitment_beta"],
        context_weight=cfg["context_weight"],
        learn_offsets=cfg["learn_offsets"],
        frozen=cfg["freeze_codes"],
        revive_below=cfg["revive_below"],
    )
