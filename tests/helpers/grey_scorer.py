"""A model that knows one thing: how grey an image is. "grey 120" fits best what has that mean level, 0 to 255."""

import torch
from lavis.models.base_model import BaseModel
from torch import Tensor

from lavis_tldr.models.scorers.scorer import ImageTextScorer, ReadImages

PLAIN = {"name": "blip_image_eval", "image_size": 16, "mean": [0.0] * 3, "std": [1 / 255] * 3}  # pixels as they are


class GreyModel(BaseModel):
    """Has a weight, as runners want."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


class GreyScorer(ImageTextScorer):
    """Matches by nearness of levels, embeds levels as angles.

    Args:
        embeds, matches: What it is asked to do.

    Attributes:
        num_encoded: Images encoded so far.
        pairs: Levels and texts matched so far.
    """

    def __init__(self, *, embeds: bool = True, matches: bool = True):
        self.embeds, self.matches = embeds, matches
        self.model = GreyModel()
        self.num_encoded = 0
        self.pairs: list[tuple[float, str]] = []

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def embed_images(self, samples) -> Tensor:
        return self.embed_read(self.read_images(samples))

    def embed_read(self, images: ReadImages) -> Tensor:
        return _on_circle(images.tokens.float().mean((1, 2)))

    def embed_texts(self, texts: list[str]) -> Tensor:
        return _on_circle(_levels(texts))

    def read_images(self, samples) -> ReadImages:
        self.num_encoded += len(samples["image"])
        return ReadImages(samples["image"].mean((1, 2, 3))[:, None, None])

    def match_pairs(self, images: ReadImages, texts: list[str]) -> Tensor:
        levels = images.tokens.float().mean((1, 2))
        self.pairs += zip(levels.tolist(), texts, strict=True)
        return -(levels - _levels(texts)).abs()


def _levels(texts: list[str]) -> Tensor:
    return torch.tensor([float(text.split()[-1]) for text in texts])


def _on_circle(levels: Tensor) -> Tensor:
    angles = levels / 255 * torch.pi / 2
    return torch.stack([angles.cos(), angles.sin()], dim=1)
