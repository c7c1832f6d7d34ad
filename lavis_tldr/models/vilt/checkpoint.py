"""Reads weights of a ViLT, ours or public ones in Hugging Face layout, and loads them: in full or not at all.

What may differ are the heads on top: a pretraining has others than a fine-tuned model. Which are new and which are left
out is said aloud; everything below them must be there.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lavis_tldr.models.tokenizer import read_vocabulary
from lavis_tldr.models.weights_digest import weights_digest

logger = logging.getLogger(__name__)

EXTRA = "_extra_state"
_BODY = ("vilt.", "visual_encoder.")  # the one stream, and a frozen tower below it
# The layout's two names of one tensor, and a buffer that old versions of transformers saved.
_TWIN, _BIAS = "mlm_score.decoder.bias", "mlm_score.bias"
_CONSTANT = "vilt.embeddings.text_embeddings.position_ids"


@dataclass
class Checkpoint:
    """Weights as they were read.

    Args:
        state: Weights by name.
        path: File or folder, for messages.
        trained: The model is to go on as it was trained (``finetuned``): no head may be new.
        vocabulary: That it was trained with, if it says so.
        answers: What its answer classifier tells apart, if it says so.
        frozen_digest: Of the weights that were frozen in training, which LAVIS leaves out of its checkpoints.
        heads: Number of attention heads, if it says so.
    """

    state: dict[str, Tensor]
    path: str
    trained: bool = False
    vocabulary: list[str] | None = None
    answers: list[str] | None = None
    frozen_digest: str = ""
    heads: int | None = None


def find_checkpoint(config: dict) -> Checkpoint | None:
    """The checkpoint under ``finetuned`` (with ``load_finetuned``) or ``pretrained`` (with ``load_pretrained``).

    Raises:
        ValueError: If it is asked for and not named, or is no ViLT's.
    """
    for name in ("finetuned", "pretrained"):
        if not config[f"load_{name}"]:
            continue
        if not config[name]:
            raise ValueError(f"model.load_{name} is True but model.{name} names no checkpoint.")
        return read_checkpoint(config[name], f"model.{name}", trained=name == "finetuned")
    if config["pretrained"]:
        raise ValueError(
            f"model.pretrained names {config['pretrained']}, but model.load_pretrained is False; set it to True, or "
            "leave the name out."
        )
    return None


def read_checkpoint(path: str | Path, key: str, *, trained: bool = False) -> Checkpoint:
    """Read a LAVIS checkpoint, a file of bare weights, or a folder in Hugging Face layout; runs no code it may hold.

    Args:
        path: File or folder.
        key: The config key that named it, for errors.
        trained: See `Checkpoint`.

    Raises:
        ValueError: If it is absent, unreadable, or no ViLT of the Hugging Face layout.
    """
    path = Path(path)
    about: dict = {}
    file = path
    if path.is_dir():
        file = next((path / n for n in ("model.safetensors", "pytorch_model.bin") if (path / n).is_file()), None)
        if file is None:
            raise ValueError(f"{key}: {path} holds neither model.safetensors nor pytorch_model.bin.")
        about = _read_about(path)
    elif not path.is_file():
        raise ValueError(f"{key}: there is no file or folder {path}; train it first, or give its path.")
    try:
        # weights_only: a pickle that holds anything but tensors and plain values is refused.
        content = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{key}: {file} is no file of plain weights ({error}).") from error
    state = content.get("model", content) if isinstance(content, dict) else {}
    extra = state.get(EXTRA) or {}
    state = {name: t for name, t in state.items() if isinstance(t, Tensor) and name != _CONSTANT}
    if not any(name.startswith(_BODY) for name in state):
        raise ValueError(
            f"{key}: {file} is not a ViLT in Hugging Face layout (no weight's name starts with {_BODY[0]!r}). "
            "A .ckpt of the official code is put into it by transformers' convert_vilt_original_to_pytorch.py."
        )
    if (_TWIN in state) != (_BIAS in state):
        state[_TWIN] = state[_BIAS] = state.get(_TWIN, state.get(_BIAS))
    keys = ("vocabulary", "answers", "frozen_digest")
    return Checkpoint(state, str(path), trained, **{**about, **{name: extra[name] for name in keys if name in extra}})


def _read_about(folder: Path) -> dict:
    """What a Hugging Face folder tells beside the weights."""
    about: dict = {}
    if (folder / "vocab.txt").is_file():
        about["vocabulary"] = read_vocabulary(folder / "vocab.txt")
    if (folder / "config.json").is_file():
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        about["heads"] = config.get("num_attention_heads")
        labels = config.get("id2label") or {}
        about["answers"] = [labels[number] for number in sorted(labels, key=int)] or None
    return about


def absent_digest(model: nn.Module, names: list[str]) -> str:
    """Digest of the parameters ``names``, in the order of their names; "" for none."""
    if not names:
        return ""
    parameters = dict(model.named_parameters())
    return weights_digest(nn.ParameterList(parameters[name] for name in sorted(names)), {"names": sorted(names)})


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load ``checkpoint``; warns of heads that stay random, tells those that are left out.

    Args:
        model: A ViLT; its ``adapt_state`` puts the weights into the names and shapes that it has.
        checkpoint: From `read_checkpoint`.

    Raises:
        ValueError: If a weight below the heads is missing, or left over, or any has another shape, or the vocabulary,
            the number of attention heads or the frozen weights are others; with ``trained`` also if a head is.
    """
    where = checkpoint.path
    own = {name: value for name, value in model.state_dict().items() if name != EXTRA}
    state = model.adapt_state(checkpoint.state)
    faults = [
        f"{name} has shape {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
        for name in sorted(state.keys() & own.keys())
        if state[name].shape != own[name].shape
    ]
    missing, left = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    frozen_out = _left_out_frozen(model, checkpoint, [name for name in missing if name.startswith(_BODY)])
    vital = [name for name in missing if name.startswith(_BODY) and name not in frozen_out]
    unknown = [name for name in left if name.startswith(_BODY)]
    new_heads, old_heads = _heads(missing), _heads(left)
    if checkpoint.trained:
        vital += [name for name in missing if not name.startswith(_BODY)]
        unknown += [name for name in left if not name.startswith(_BODY)]
    faults += [
        f"{len(names)} weights {what} (first: {names[0]})"
        for names, what in ((vital, "are missing"), (unknown, "are left over"))
        if names
    ]
    if checkpoint.heads not in (None, model.vilt.sizes.heads):
        faults.append(f"it has {checkpoint.heads} attention heads, model.heads is {model.vilt.sizes.heads}")
    if faults:
        raise ValueError(
            f"{where} does not fit {type(model).__name__}: {'; '.join(faults[:5])}. Use the model_type, sizes and "
            "vocabulary that it was trained with; images of another size need no other model.image_size, since "
            "positions are interpolated to them."
        )
    model.load_state_dict({**own, **state}, strict=False)
    for head in new_heads:
        logger.warning("%s has no %s: it starts random, and means nothing until it is trained.", where, head)
    if old_heads:
        logger.info("%s: left out %s, which %s has not.", where, ", ".join(old_heads), type(model).__name__)


def _heads(names: list[str]) -> list[str]:
    return sorted({name.split(".")[0] for name in names if not name.startswith(_BODY)})


def _left_out_frozen(model: nn.Module, checkpoint: Checkpoint, missing: list[str]) -> set[str]:
    """Those of ``missing`` that were frozen when the checkpoint was trained, and that this model has the same."""
    if not missing or not checkpoint.frozen_digest:
        return set()
    if absent_digest(model, missing) != checkpoint.frozen_digest:
        raise ValueError(
            f"{checkpoint.path} leaves out {len(missing)} weights that were frozen (first: {missing[0]}), and was "
            "trained over others than this model has. Set model.vit_weights to the file that it was trained with, or "
            "train with run.save_frozen: True."
        )
    return set(missing)
