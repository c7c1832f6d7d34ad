"""A tiny BLIP pretraining with a vocabulary of characters."""

import pytest
import torch
from omegaconf import OmegaConf

from lavis_tldr.environment.offline import character_vocabulary
from lavis_tldr.models.blip.pretrain import BlipPretrainTLDR

CAPTIONS = ["a red kite", "two dogs on a beach", "a cat", "rain over the hills of an old town at night"]


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(character_vocabulary()) + "\n")
    return path


@pytest.fixture
def config(vocabulary):
    """A ``model`` section of type tiny: ``config(fast=False)``."""

    def make(**keys):
        default = OmegaConf.load(BlipPretrainTLDR.default_config_path("tiny")).model
        return OmegaConf.merge(default, {"model_type": "tiny", "vocabulary": str(vocabulary), **keys})

    return make


@pytest.fixture
def build(config):
    """A model of random weights: ``build(seed=1, dropout=0.0)``."""

    def make(seed: int = 0, **keys) -> BlipPretrainTLDR:
        torch.manual_seed(seed)
        return BlipPretrainTLDR.from_config(config(**keys))

    return make


@pytest.fixture
def samples():
    """Four pairs as a task hands them over, in the second epoch: alpha is halfway up."""
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    return {"image": images, "text_input": list(CAPTIONS), "epoch": 1, "iters": 0, "num_iters_per_epoch": 10}


@pytest.fixture
def likeliest_negatives(monkeypatch):
    """The same negatives whether they are drawn for each row or for all at once."""
    monkeypatch.setattr(torch, "multinomial", lambda weights, num: weights.argmax(-1, keepdim=True))
