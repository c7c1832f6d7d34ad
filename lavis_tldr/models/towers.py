"""Builds a ViT and a BERT by the config keys that our models share (``image_size``, ``vit_*``, ``text_*``)."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from lavis.models.vit import VisionTransformer
from torch import Tensor, nn

from lavis_tldr.models.bert_weights import bert_folder, check_heads, load_bert, read_bert
from lavis_tldr.models.random_weights import NARROW, spread_random_weights
from lavis_tldr.models.text_decoder import TextDecoder
from lavis_tldr.models.tokenizer import read_vocabulary
from lavis_tldr.models.vit_weights import load_vit


class BertSource(NamedTuple):
    """What ``text_weights`` names.

    Attributes:
        config: Of the BERT.
        state: Its weights.
        folder: Where they lie.
    """

    config: dict
    state: dict[str, Tensor]
    folder: str


def read_text_weights(cfg: dict) -> BertSource:
    """The BERT that ``text_weights`` names, a folder or a hub name."""
    folder = bert_folder(cfg["text_weights"])
    return BertSource(*read_bert(folder), str(folder))


def asked_checkpoint(cfg: dict) -> str | None:
    """The key of the checkpoint that is to be loaded, "finetuned" or else "pretrained"; None of neither.

    Raises:
        ValueError: If one is named under ``pretrained`` and not asked for.
    """
    kind = next((kind for kind in ("finetuned", "pretrained") if cfg[f"load_{kind}"]), None)
    if kind is None and cfg["pretrained"]:
        raise ValueError("model.pretrained names a checkpoint, but model.load_pretrained is False: set it to True.")
    return kind


def read_state(path: str, key: str) -> dict:
    """The weights in a checkpoint.

    Args:
        path: A file of plain weights, or one with weights under ``model``.
        key: The config key that named it, for errors.

    Raises:
        ValueError: If there is none, or it holds more than tensors and plain values.
    """
    if not Path(path).is_file():
        raise ValueError(f"{key}: there is no file {path}; train it first, or give its path.")
    try:
        # weights_only: a pickle that holds anything but tensors and plain values is refused.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{key}: {path} is no checkpoint of plain weights ({error}).") from error
    return content.get("model", content) if isinstance(content, dict) else {}


def find_vocabulary(cfg: dict, state: dict | None, bert: BertSource | None) -> list[str] | None:
    """Tokens in the order of their ids: the checkpoint's, else of ``vocabulary``, else of the BERT; None: of neither.

    Args:
        cfg: The model's config.
        state: Weights of a checkpoint that holds its vocabulary, or None.
        bert: What ``text_weights`` names, if it is read.
    """
    if state is not None:
        return state["_extra_state"]["vocabulary"]
    if cfg["vocabulary"]:
        return read_vocabulary(cfg["vocabulary"])
    return None if bert is None else read_vocabulary(Path(bert.folder) / "vocab.txt")


def build_vit(cfg: dict) -> VisionTransformer:
    """LAVIS's ViT, started from ``vit_weights`` where they are given.

    Raises:
        ValueError: If sizes do not go together or the weights do not fit.
    """
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


def build_text_network(
    cfg: dict, vocab_size: int, bert: BertSource | None, *, max_positions: int | None = None
) -> TextDecoder:
    """A BERT, started from weights where they are given.

    Args:
        cfg: The model's config.
        vocab_size: V.
        bert: What to start it from, or None.
        max_positions: Longest sequence; None: as the weights have it.

    Raises:
        ValueError: If the weights do not fit.
    """
    sizes = {} if max_positions is None else {"max_positions": max_positions}
    if bert is not None:
        sizes = {"max_positions": bert.config.get("max_position_embeddings", 512)}
        check_heads(bert.config, cfg["text_heads"], bert.folder)
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
        load_bert(decoder, bert.state, bert.folder)
    elif cfg["text_width"] < NARROW:
        spread_random_weights(decoder)
    return decoder
