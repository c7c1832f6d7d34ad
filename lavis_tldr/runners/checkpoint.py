"""What a checkpoint holds, and putting it back.

LAVIS leaves every parameter without a gradient out of its checkpoints. That is right for a frozen image
encoder, which comes from its own weight file, and wrong for momentum encoders, which training changes without
a gradient: a resumed ``blip_pretrain`` then goes on with fresh ones. Here only frozen weights that training
left as they were stay out, and a digest of them is checked on the way back.
"""

import hashlib
import os
import pickle
from pathlib import Path

import torch
from torch import nn

from lavis_tldr.files import write_whole

MAX_NAMES_SHOWN = 5


def momentum_names(model: nn.Module) -> set[str]:
    """Names of the parameters that follow others by a moving average (LAVIS's ``model_pairs``)."""
    followers = {id(p) for _, copy in getattr(model, "model_pairs", []) for p in copy.parameters()}
    return {name for name, p in model.named_parameters(remove_duplicate=False) if id(p) in followers}


def frozen_names(model: nn.Module) -> set[str]:
    """Names of the parameters without a gradient, momentum encoders excepted."""
    frozen = {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return frozen - momentum_names(model)


def parameters_digest(model: nn.Module, names: set[str]) -> str:
    """Digest of some parameters, by name and value in single precision; "" for no names.

    Half-precision training may leave frozen weights in another type without a change. What decides a module's output,
    buffers and types included, has :func:`lavis_tldr.models.weights_digest.weights_digest`.
    """
    if not names:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name in sorted(names):
        digest.update(name.encode())
        digest.update(parameters[name].detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_checkpoint(checkpoint: dict, path: Path) -> None:
    """Write the checkpoint whole or not at all: a killed run leaves the previous file."""
    with write_whole(path) as temporary:
        torch.save(checkpoint, temporary)


def read_checkpoint(path: str | Path) -> dict:
    """Read a LAVIS checkpoint onto the CPU, running no code that it may hold.

    Raises:
        ValueError: If there is no such file, or it is not a checkpoint with a ``model`` entry.
    """
    if not os.path.isfile(path):
        raise ValueError(f"Checkpoint {path} does not exist. Name a file that a run saved (run.resume_ckpt_path).")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} can't be read as a checkpoint of tensors and plain values: {error}") from error
    if not isinstance(checkpoint, dict) or "model" not in checkpoint:
        raise ValueError(f"{path} is no LAVIS checkpoint: it has no 'model' entry with the weights.")
    return checkpoint


def load_state(model: nn.Module, checkpoint: dict, source: str | Path) -> list[str]:
    """Load a checkpoint's weights; only frozen and momentum weights may be absent.

    Args:
        model: The model without its DDP wrapper.
        checkpoint: As :func:`read_checkpoint` returns it.
        source: Where it came from, for messages.

    Returns:
        Names of the momentum weights that the checkpoint lacks; if there are any, all momentum weights have
        been restarted from the weights that they follow.

    Raises:
        ValueError: If the checkpoint is of another model, or was trained over other frozen weights.
    """
    saved = checkpoint["model"]
    expected = model.state_dict()
    momentum = momentum_names(model)
    missing = [name for name in expected if name not in saved]
    vital = [name for name in missing if name not in frozen_names(model) and name not in momentum]
    unknown = [name for name in saved if name not in expected]
    misshapen = [name for name in saved if name in expected and _shape(saved[name]) != _shape(expected[name])]
    if vital or unknown or misshapen:
        raise ValueError(
            f"{source} does not fit {type(model).__name__}: {_count(vital, 'missing')}, "
            f"{_count(unknown, 'unknown')}, {_count(misshapen, 'of another shape')}. "
            "Use the checkpoint with the model config that it was trained with."
        )
    left_out = {name for name in missing if name not in momentum}
    wanted = checkpoint.get("frozen_digest", "")
    if left_out and wanted and parameters_digest(model, left_out) != wanted:
        raise ValueError(
            f"{source} was trained over other frozen weights than this model has "
            f"({_count(left_out, 'frozen')}). "
            "Give the model the same pretrained weights, or train with run.save_frozen: True."
        )
    model.load_state_dict(saved, strict=False)
    lost = [name for name in missing if name in momentum]
    if lost:
        model.copy_params()
    return lost


def _shape(value) -> torch.Size | None:
    return getattr(value, "shape", None)  # a module's extra state may be anything


def _count(names, what: str) -> str:
    names = sorted(names)
    shown = ", ".join(names[:MAX_NAMES_SHOWN]) + (", ..." if len(names) > MAX_NAMES_SHOWN else "")
    return f"{len(names)} {what}" + (f" ({shown})" if names else "")
