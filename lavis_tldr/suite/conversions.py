"""Checkpoints of stock pretrainings, as the models that evaluate them load them."""

from __future__ import annotations

import logging
from pathlib import Path

from lavis_tldr.suite.checkpoint import JudgedCheckpoint

logger = logging.getLogger(__name__)

_FOR_SHAPES = ("embed_dim", "med_config_path", "vit_type")


def convert_for(judged: JudgedCheckpoint, arch: str, target: Path) -> None:
    """Convert a checkpoint for a stock model.

    Args:
        judged: The checkpoint.
        arch: LAVIS's name of the model.
        target: File to write.

    Raises:
        ValueError: If it does not fit.
    """
    from lavis_tldr.models.conversion.outcome import Wishes
    from lavis_tldr.models.conversion.targets import convert
    from lavis_tldr.runners.checkpoint import read_checkpoint, save_checkpoint

    settings = [f"{key}={judged.model[key]}" for key in _FOR_SHAPES if judged.model.get(key) is not None]
    conversion = convert(read_checkpoint(judged.path), arch, Wishes(settings=tuple(settings)))
    logger.debug("converted for %s: %s", arch, "; ".join(conversion.lines()))
    target.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(conversion.content, target)
