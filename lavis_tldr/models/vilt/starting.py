"""Starts a ViLT's transformer from a ViT and its text embeddings from a BERT."""

from functools import partial
from pathlib import Path

import torch
from lavis.models.vit import VisionTransformer
from torch import Tensor, nn

from lavis_tldr.models.bert_weights import bert_folder, read_bert
from lavis_tldr.models.vilt.network import ViltNetwork
from lavis_tldr.models.vit_weights import load_vit

_LAYER = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_OUTER = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}


def start_from_vit(network: ViltNetwork, path: str) -> None:
    """Blocks, patch and position embeddings of a ViT; of a deeper one the first blocks.

    Args:
        network: Modified in place.
        path: A local file in timm's names.

    Raises:
        ValueError: If the file is absent or does not fit.
    """
    sizes = network.sizes
    vit = VisionTransformer(
        img_size=sizes.image_size,
        patch_size=sizes.patch_size,
        embed_dim=sizes.width,
        depth=sizes.depth,
        num_heads=sizes.heads,
        mlp_ratio=sizes.mlp_width / sizes.width,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=sizes.norm_eps),
    )
    load_vit(vit, path, "model.vit_weights")
    network.load_state_dict({**network.state_dict(), **_as_vilt(vit.state_dict(), sizes.depth)})


def _as_vilt(vit: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    state = {ours: vit[theirs] for theirs, ours in _OUTER.items()}
    for i in range(depth):
        block, layer = f"blocks.{i}", f"encoder.layer.{i}"
        for kind in ("weight", "bias"):
            for theirs, ours in _LAYER.items():
                state[f"{layer}.{ours}.{kind}"] = vit[f"{block}.{theirs}.{kind}"]
            parts = vit[f"{block}.attn.qkv.{kind}"].chunk(3)
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                state[f"{layer}.attention.attention.{name}.{kind}"] = part
    return state


def start_from_bert(network: ViltNetwork, name: str, output_words: Tensor | None) -> None:
    """Text embeddings of a BERT.

    Args:
        network: Modified in place.
        name: Folder or hub name.
        output_words: Of the head that tells masked words, (V, D): starts as the word embeddings, to which a BERT's
            is tied; None: the model has none.

    Raises:
        ValueError: If it does not fit.
    """
    _, bert = read_bert(Path(bert_folder(name)))
    text = network.embeddings.text_embeddings
    places = len(text.position_embeddings.weight)
    for key, own in text.state_dict().items():
        new = bert.get(f"embeddings.{key}")
        if new is not None and key == "position_embeddings.weight":
            new = new[:places]
        if new is None or new.shape != own.shape:
            raise ValueError(
                f"model.text_weights: {name} has {'no' if new is None else tuple(new.shape)} embeddings.{key}, "
                f"expected {tuple(own.shape)}; make model.width and model.max_text_length fit these weights."
            )
        own.copy_(new)
    if output_words is not None:
        with torch.no_grad():
            output_words.copy_(text.word_embeddings.weight)
