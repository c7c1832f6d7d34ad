"""Reads BERT weights in Hugging Face layout, from a local folder or the hub, into `TextDecoder`."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from lavis_tldr.models.text_decoder import TextDecoder

_LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention.norm",
    "intermediate.dense": "mlp_in",
    "output.dense": "mlp_out",
    "output.LayerNorm": "norm",
}
_OUTER = {
    "embeddings.word_embeddings.weight": "word_embeddings.weight",
    "embeddings.position_embeddings.weight": "position_embeddings.weight",
    "embeddings.LayerNorm.weight": "embedding_norm.weight",
    "embeddings.LayerNorm.bias": "embedding_norm.bias",
    "cls.predictions.transform.dense.weight": "head_transform.weight",
    "cls.predictions.transform.dense.bias": "head_transform.bias",
    "cls.predictions.transform.LayerNorm.weight": "head_norm.weight",
    "cls.predictions.transform.LayerNorm.bias": "head_norm.bias",
    "cls.predictions.bias": "head_bias",
}


_HUB_FILES = ("config.json", "vocab.txt", "*.safetensors", "*.bin")


def bert_folder(name: str, files: Sequence[str] | None = None) -> Path:
    """The local folder of a BERT: ``name`` itself where it is one, else the hub's (cached) copy.

    Args:
        name: A folder, or a name on the hub.
        files: Patterns of those that the hub is asked for; None: all that a BERT takes.

    Raises:
        ValueError: If ``name`` is no folder and the hub can't be reached.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(files or _HUB_FILES)))
    except Exception as error:
        raise ValueError(
            f"text weights {name!r}: no such folder, and the hub gave none ({type(error).__name__}: {error}). "
            "Give a local folder that holds config.json, vocab.txt and model.safetensors."
        ) from error


def read_bert(folder: Path) -> tuple[dict, dict[str, Tensor]]:
    """Config and float32 state dict of a BERT in Hugging Face layout."""
    config = json.loads((folder / "config.json").read_text())
    if (folder / "model.safetensors").is_file():
        state = load_file(folder / "model.safetensors")
    elif (folder / "pytorch_model.bin").is_file():
        state = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    else:
        raise ValueError(f"{folder} holds neither model.safetensors nor pytorch_model.bin.")
    renamed = {}
    for name, tensor in state.items():
        name = name.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight")
        renamed[name.replace("LayerNorm.beta", "LayerNorm.bias")] = tensor.float()
    return config, renamed


def check_heads(config: dict, num_heads: int, where: str) -> None:
    """Refuse a BERT of another number of attention heads: any that divides the width would fit its weights unnoticed.

    Args:
        config: From `read_bert`.
        num_heads: ``model.text_heads``.
        where: Named in errors.
    """
    found = config.get("num_attention_heads", num_heads)
    if found != num_heads:
        raise ValueError(f"{where} has {found} attention heads, model.text_heads is {num_heads}.")


def load_bert(decoder: TextDecoder, state: dict[str, Tensor], where: str) -> None:
    """Start ``decoder`` from a BERT. Cross-attention starts at random where its width or the weights ask for it.

    Args:
        decoder: Modified in place.
        state: From `read_bert`.
        where: Named in errors.

    Raises:
        ValueError: If a weight of the BERT is absent or has another shape.
    """
    own = decoder.state_dict()
    new: dict[str, Tensor] = {}
    for theirs, ours in _OUTER.items():
        if theirs in state:
            new[ours] = state[theirs]
    for i in range(len(decoder.layers)):
        for theirs, ours in _LAYER.items():
            for kind in ("weight", "bias"):
                name = f"encoder.layer.{i}.{theirs}.{kind}"
                if name not in state:
                    raise ValueError(
                        f"{where} has no {name}; expected a BERT of at least {len(decoder.layers)} layers."
                    )
                new[f"layers.{i}.{ours}.{kind}"] = state[name]
    if "embeddings.token_type_embeddings.weight" in state:
        new["segment_embedding"] = state["embeddings.token_type_embeddings.weight"][0]
    for name, tensor in new.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"{where}: {name} has shape {tuple(tensor.shape)}, the decoder expects {tuple(own[name].shape)}; "
                "make text_width, text_depth and the vocabulary those of these weights."
            )
    own.update(new)
    decoder.load_state_dict(own)
