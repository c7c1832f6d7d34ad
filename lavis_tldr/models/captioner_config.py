"""Builds the parts of a `CodebookCaptioner` from a LAVIS model config, and says what is wrong with one."""

from functools import partial
from pathlib import Path

import torch
from lavis.models.vit import VisionTransformer
from omegaconf import OmegaConf
from torch import nn

from lavis_tldr.codebook.quantizer import VectorQuantizer
from lavis_tldr.models.bert_weights import bert_folder, load_bert, read_bert
from lavis_tldr.models.random_weights import NARROW, spread_random_weights
from lavis_tldr.models.text_decoder import TextDecoder
from lavis_tldr.models.tokenizer import CaptionTokenizer, read_vocabulary
from lavis_tldr.models.vit_weights import load_vit
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
        folder = bert_folder(cfg["text_weights"])
        bert = (*read_bert(folder), str(folder))
    tokenizer = _build_tokenizer(cfg, checkpoint, bert)
    decoder = _build_decoder(cfg, len(tokenizer), bert, checkpoint)
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
        "visual_encoder": _build_visual_encoder(cfg),
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
    if not Path(path).is_file():
        raise ValueError(f"model.{name}: there is no file {path}; train it first, or give its path.")
    try:
        # weights_only: a pickle that holds anything but tensors and plain values is refused.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"model.{name}: {path} is no checkpoint of plain weights ({error}).") from error
    state = content.get("model", content) if isinstance(content, dict) else {}
    if "vocabulary" not in (state.get("_extra_state") or {}):
        raise ValueError(f"model.{name}: {path} is not a checkpoint of codebook_captioner (no vocabulary in it).")
    return {"state": state, "path": str(path)}


def _build_tokenizer(cfg: dict, checkpoint: dict | None, bert: tuple | None) -> CaptionTokenizer:
    if checkpoint is not None:
        return CaptionTokenizer(checkpoint["state"]["_extra_state"]["vocabulary"])
    if cfg["vocabulary"]:
        return CaptionTokenizer(read_vocabulary(cfg["vocabulary"]))
    if bert is not None:
        return CaptionTokenizer(read_vocabulary(Path(bert[2]) / "vocab.txt"))
    raise ValueError(
        "the captioner has no vocabulary. Give model.text_weights (a BERT's folder or hub name) or model.vocabulary "
        "(a vocab.txt); the task codebook_captioning trains one from the captions when both are empty."
    )


def _build_visual_encoder(cfg: dict) -> nn.Module:
    if cfg["image_size"] % cfg["patch_size"]:
        raise ValueError(f"image_size {cfg['image_size']} is no multiple of patch_size {cfg['patch_size']}.")
    encoder = VisionTransformer(
        img_size=cfg["image_size"],
        patch_size=cfg["patch_size"],
        embed_dim=cfg["vit_width"],
        depth=cfg["vit_depth"],
        num_heads=cfg["vit_heads"],
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    path = cfg["vit_weights"]
    if path:
        load_vit(encoder, path, "model.vit_weights")
    elif cfg["vit_width"] < NARROW:
        spread_random_weights(encoder)
    return encoder


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


def _build_decoder(cfg: dict, vocab_size: int, bert: tuple | None, checkpoint: dict | None) -> TextDecoder:
    sizes = {}
    if checkpoint is not None:
        positions = checkpoint["state"].get("decoder.position_embeddings.weight")
        sizes = {} if positions is None else {"max_positions": len(positions)}
    elif bert is not None:
        sizes = {"max_positions": bert[0].get("max_position_embeddings", 512)}
        # Any number of heads that divides the width fits the weights, so a wrong one would go unnoticed.
        heads = bert[0].get("num_attention_heads", cfg["text_heads"])
        if heads != cfg["text_heads"]:
            raise ValueError(f"{bert[2]} has {heads} attention heads, model.text_heads is {cfg['text_heads']}.")
    decoder = TextDecoder(
        vocab_size,
        cfg["text_width"],
        cfg["text_depth"],
        cfg["text_heads"],
        cfg["text_mlp_width"],
        cfg["vit_width"],
        dropout=cfg["dropout"],
        **sizes,
    )
    if bert is not None:
        load_bert(decoder, bert[1], bert[2])
    elif cfg["text_width"] < NARROW:
        spread_random_weights(decoder)
    return decoder
