"""Reads the `model` section of a ViLT: its keys, sizes and vocabulary."""

import json
from pathlib import Path

from omegaconf import OmegaConf

from lavis_tldr.models.bert_weights import bert_folder
from lavis_tldr.models.tokenizer import CaptionTokenizer, read_vocabulary
from lavis_tldr.models.vilt.network import ViltSizes
from lavis_tldr.user_errors import closest

CONFIGS = Path(__file__).parents[2] / "configs" / "models"
MODEL_TYPES = ("base", "base16", "small", "tower", "tiny")

# What every model of the family has; its default stands in `vilt_pretrain_TYPE.yaml` alone.
_SIZE_KEYS = ("image_size", "patch_size", "width", "depth", "heads", "mlp_width", "max_text_length", "dropout")
_START_KEYS = ("vit_weights", "text_weights", "vocabulary", "freeze_layers", "tower")
_LOADING_KEYS = ("arch", "model_type", "load_finetuned", "finetuned", "load_pretrained", "pretrained")


def packaged_defaults(arch: str) -> dict[str, str]:
    """The packaged default config of each model type of ``arch``, as LAVIS's PRETRAINED_MODEL_CONFIG_DICT."""
    return {name: str(CONFIGS / f"{arch}_{name}.yaml") for name in MODEL_TYPES}


def read_config(cfg, defaults: dict[str, str]) -> dict:
    """The config with all that it leaves out filled in.

    Args:
        cfg: The ``model`` section of a run config, or a packaged default's; it names its ``model_type``.
        defaults: The model's packaged defaults, by type.

    Raises:
        ValueError: If a key or the model type is unknown.
    """
    cfg = OmegaConf.to_container(cfg, resolve=True)
    model_type = cfg.get("model_type")
    if model_type not in defaults:
        raise ValueError(f"unknown model.model_type {model_type!r}{closest(model_type, defaults)}.")
    sizes = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"vilt_pretrain_{model_type}.yaml").model)
    shared = {key: sizes[key] for key in (*_SIZE_KEYS, *_START_KEYS)}
    default = {**shared, **OmegaConf.to_container(OmegaConf.load(defaults[model_type]).model)}
    known = {*default, *_LOADING_KEYS}
    for key in cfg:
        if key not in known:
            raise ValueError(f"unknown key model.{key}{closest(key, known)}.")
    return {**default, **cfg}


def build_sizes(config: dict, vocab_size: int, modality_types: int) -> ViltSizes:
    """The network's sizes of a config from `read_config`."""
    given = {key: config[key] for key in _SIZE_KEYS}
    channels = config["tower"]["width"] if config["tower"] else 3
    return ViltSizes(**given, vocab_size=vocab_size, modality_types=modality_types, channels=channels)


def build_tokenizer(config: dict, checkpoint_vocabulary: list[str] | None) -> CaptionTokenizer:
    """The WordPiece tokenizer: a checkpoint's, else that of ``text_weights``, else that of ``vocabulary``.

    Raises:
        ValueError: If there is none.
    """
    if checkpoint_vocabulary is not None:
        return CaptionTokenizer(checkpoint_vocabulary)
    if config["text_weights"]:
        return CaptionTokenizer(read_vocabulary(bert_folder(config["text_weights"]) / "vocab.txt"))
    name = config["vocabulary"]
    if not name:
        raise ValueError(
            "a ViLT needs a vocabulary. Give model.vocabulary (a vocab.txt, or the folder or hub name of a BERT) or "
            "model.text_weights (a BERT's folder or hub name)."
        )
    if not str(name).endswith(".txt"):
        name = bert_folder(name, ["vocab.txt"]) / "vocab.txt"
    return CaptionTokenizer(read_vocabulary(name))


def read_answers(path: str, key: str = "model.answer_list") -> list[str]:
    """The answers of a JSON list, in order.

    Raises:
        ValueError: If the file is absent or holds anything but different strings.
    """
    if not Path(path).is_file():
        raise ValueError(f"{key}: there is no file {path}; give a JSON list of answers.")
    answers = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(answers, list) or not answers or not all(isinstance(answer, str) for answer in answers):
        raise ValueError(f'{key}: {path} is no JSON list of answers, such as ["yes", "no"].')
    if len(set(answers)) < len(answers):
        raise ValueError(f"{key}: {path} holds an answer twice; expected each once.")
    return answers
