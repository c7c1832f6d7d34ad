"""Names and shapes of a stock BLIP model's weights, without its weights, its tokenizer or a hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from lavis.common.registry import registry
from omegaconf import OmegaConf
from torch.overrides import TorchFunctionMode

from lavis_tldr.user_errors import closest

# Stock builds no model without a number of classes, which says nothing about what a pretraining gives it.
_ANY_NUMBER_OF_CLASSES = 2


def stock_shapes(arch: str, model_type: str | None, settings: dict) -> dict[str, tuple[int, ...]]:
    """Shape of each weight of a stock model, by name.

    Args:
        arch: The model's registered name.
        model_type: Whose packaged config it is built with; None: the first.
        settings: Keys of the ``model`` section that replace the packaged ones.

    Raises:
        ValueError: If there is no such type.
    """
    model_class = registry.get_model_class(arch)
    types = model_class.PRETRAINED_MODEL_CONFIG_DICT
    model_type = model_type or next(iter(types))
    if model_type not in types:
        raise ValueError(f"{arch} has no model_type {model_type!r}{closest(model_type, types)}.")
    config = OmegaConf.load(model_class.default_config_path(model_type)).model
    config.setdefault("num_classes", _ANY_NUMBER_OF_CLASSES)
    config = OmegaConf.merge(config, settings)
    without_files = {
        "init_tokenizer": classmethod(lambda cls: NoTokenizer()),
        "load_checkpoint_from_config": _load_nothing,
        "load_from_pretrained": _load_nothing,
    }
    outline = type(model_class.__name__, (model_class,), without_files)
    with without_memory():
        model = outline.from_config(config)
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _load_nothing(self, *args, **kwargs) -> None:
    pass


@contextmanager
def without_memory() -> Iterator[None]:
    """Models that are built meanwhile have names and shapes, and no values."""
    with torch.device("meta"), _WithNumbers():
        yield


class NoTokenizer:
    """Answers what stock models ask of a tokenizer while they are built."""

    def __call__(self, text: str) -> SimpleNamespace:
        return SimpleNamespace(input_ids=[0])


class _WithNumbers(TorchFunctionMode):
    """On the meta device tensors have no values; LAVIS's ViT reads those of a `linspace` while it is built."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        options = {"device": "cpu"} if func is torch.linspace else {}
        return func(*args, **{**(kwargs or {}), **options})
