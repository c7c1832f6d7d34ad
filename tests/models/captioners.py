"""Tiny captioners for the tests."""

from pathlib import Path

import torch
from omegaconf import OmegaConf

import lavis_tldr.models.codebook_captioner as captioner_module
from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.wordpiece_training import train_vocabulary

CAPTIONS = [
    "a red kite over the sea",
    "two small dogs in the grass",
    "a house beside a tall tree",
    "a yellow boat on a lake",
]
CONFIGS = Path(captioner_module.__file__).parents[1] / "configs/models"


def write_vocabulary(folder: Path) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(train_vocabulary(CAPTIONS * 2, 200)) + "\n", encoding="utf-8")
    return path


def tiny_config(folder: Path, **changes):
    """The packaged default of ``tiny`` with smaller images and a vocabulary."""
    cfg = OmegaConf.load(CONFIGS / "codebook_captioner_tiny.yaml").model
    small = {"image_size": 32, "vit_width": 32, "num_codes": 16, "text_width": 32, "text_mlp_width": 64, "dropout": 0.0}
    if "vocabulary" not in changes:
        small["vocabulary"] = str(write_vocabulary(folder))
    return OmegaConf.merge(cfg, {"model_type": "tiny", **small, **changes})


def tiny_captioner(folder: Path, seed: int = 0, **changes) -> CodebookCaptioner:
    torch.manual_seed(seed)
    return CodebookCaptioner.from_config(tiny_config(folder, **changes))


def save_as_lavis(model, path, drop_frozen=True):
    """As LAVIS's runner saves: parameters without a gradient are left out."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad and drop_frozen}
    torch.save({"model": {n: v for n, v in model.state_dict().items() if n not in frozen}, "epoch": 3}, path)
    return path


def blocks(num_images: int = 4, size: int = 32) -> torch.Tensor:
    """Images that differ in colour and texture, (B, 3, size, size)."""
    generator = torch.Generator().manual_seed(0)
    colours = 2 * torch.randn(num_images, 3, 1, 1, generator=generator)
    return colours + 0.5 * torch.randn(num_images, 3, size, size, generator=generator)
