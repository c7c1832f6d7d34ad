"""Tiny models of `clip_pretrain` and pairs for them."""

import functools
from pathlib import Path

import torch
from lavis.common.registry import registry
from omegaconf import OmegaConf

from lavis_tldr.models.clip_pretrain import ClipPretrain
from lavis_tldr.models.wordpiece_training import train_vocabulary

COLOURS = ("red", "green", "blue", "pink")
THINGS = ("kite", "dog", "house", "boat")
TEXTS = [f"a {colour} {thing}" for colour in COLOURS for thing in THINGS]
# Of a ViT with two heads of 64, since LAVIS's heads are 64 wide.
VISION = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}


def write_vocabulary(folder: Path) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(train_vocabulary(TEXTS * 2, 120)) + "\n", encoding="utf-8")
    return path


def tower_config(folder: Path, **changes):
    """The packaged default of ``tiny`` with smaller images, a vocabulary and no dropout."""
    cfg = OmegaConf.load(ClipPretrain.default_config_path("tiny")).model
    small = {"image_size": 32, "max_text_length": 12, "dropout": 0.0, "vocabulary": str(write_vocabulary(folder))}
    return OmegaConf.merge(cfg, {"model_type": "tiny", **small, **changes})


def tower_clip(folder: Path, seed: int = 0, **changes):
    """Two tiny towers, built as a run config builds them."""
    torch.manual_seed(seed)
    return registry.get_model_class("clip_pretrain").from_config(tower_config(folder, **changes))


def stock_clip(seed: int = 0, text: dict | None = None, **options) -> ClipPretrain:
    """LAVIS's towers, tiny."""
    torch.manual_seed(seed)
    return ClipPretrain(32, dict(VISION), {**TEXT, **(text or {})}, **options)


@functools.cache
def images(num: int = 16) -> torch.Tensor:
    """Random images, (num, 3, 32, 32); not to be changed."""
    return torch.randn(num, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def batch(rows=slice(16)) -> dict:
    """Samples of the pairs ``rows``."""
    return {"image": images()[rows], "text_input": TEXTS[rows]}


def gradients(model) -> dict[str, torch.Tensor]:
    """Of every parameter that is trained; fails where one has none."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, p in trained.items() if p.grad is None] == []
    return {name: p.grad.clone() for name, p in trained.items()}


def assert_same_gradients(found: dict, expected: dict) -> None:
    """Each parameter's by itself, to 1e-6 of its norm, or of 1: another order of the batch differs as much."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        difference = (found[name] - gradient).norm() / gradient.norm().clamp(min=1)
        assert difference < 1e-6, f"{name}: {difference:.1e}"


class Gallery(torch.utils.data.Dataset):
    """The pairs as LAVIS's retrieval sets are: images by number, all texts under ``text``."""

    def __init__(self, texts=TEXTS, key: str = "image", values: torch.Tensor | None = None):
        self.text = list(texts)
        self.key, self.values = key, images() if values is None else values

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, index: int) -> dict:
        return {self.key: self.values[index], "index": index}

    def loader(self):
        return torch.utils.data.DataLoader(self, batch_size=5)


def recalls(scores) -> tuple[float, float]:
    """Recall at 1 of images' own texts and of texts' own images, in [0, 1]; row i belongs to column i."""
    own = torch.arange(len(scores[0]))
    by_image, by_text = (torch.from_numpy(score).argmax(1) for score in scores)
    return (by_image == own).float().mean().item(), (by_text == own).float().mean().item()
