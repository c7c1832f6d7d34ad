"""Tiny ViLTs for the tests, and transformers' with the same weights."""

from pathlib import Path

import torch
from lavis.common.registry import registry
from omegaconf import OmegaConf
from transformers import ViltConfig

from lavis_tldr.models.vilt.checkpoint import EXTRA
from lavis_tldr.models.wordpiece_training import train_vocabulary

CAPTIONS = [
    "a red kite over the sea",
    "two small dogs in the grass",
    "a house beside a tall tree",
    "a yellow boat on a lake",
    "an old man with a newspaper",
    "children playing football",
]


def vocabulary() -> list[str]:
    """Of the captions: frequent ones whole, others in pieces."""
    return train_vocabulary(CAPTIONS * 2, 70)


def write_vocabulary(folder: Path) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    return path


def tiny_config(folder: Path, arch: str = "vilt_pretrain", **changes):
    """The packaged default of ``tiny``, with the captions' vocabulary."""
    default = registry.get_model_class(arch).PRETRAINED_MODEL_CONFIG_DICT["tiny"]
    given = {"vocabulary": str(write_vocabulary(folder))} if "vocabulary" not in changes else {}
    return OmegaConf.merge(OmegaConf.load(default).model, given, changes)


def tiny_vilt(folder: Path, arch: str = "vilt_pretrain", seed: int = 0, **changes):
    torch.manual_seed(seed)
    return registry.get_model_class(arch).from_config(tiny_config(folder, arch, **changes))


def pairs(count: int = 4, size: int = 32, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {"image": torch.randn(count, 3, size, size, generator=generator), "text_input": CAPTIONS[:count]}


def save(model, path: Path, drop=()) -> str:
    """As LAVIS's runner saves; parameters whose name starts with one of ``drop`` are left out."""
    state = {name: value for name, value in model.state_dict().items() if not name.startswith(tuple(drop) or "/")}
    torch.save({"model": state, "epoch": 1}, path)
    return str(path)


def reference_config(model, **changes) -> ViltConfig:
    """transformers' config of a tiny model's sizes."""
    sizes = model.vilt.sizes
    return ViltConfig(
        vocab_size=sizes.vocab_size,
        modality_type_vocab_size=sizes.modality_types,
        max_position_embeddings=sizes.max_text_length,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.depth,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.mlp_width,
        image_size=sizes.image_size,
        patch_size=sizes.patch_size,
        layer_norm_eps=changes.pop("layer_norm_eps", 1e-12),
        **changes,
    )


def plain_state(model) -> dict:
    return {name: value for name, value in model.state_dict().items() if name != EXTRA}


def norm_eps_of_reference(model) -> None:
    """transformers has one eps for all norms, the official code a larger one in the blocks."""
    for module in model.vilt.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-12
