"""Gives a stock LAVIS checkpoint of a BLIP pretraining the momentum weights that LAVIS left out of it.

    python -m lavis_tldr.runners.momentum checkpoint_19.pth with_momentum.pth

Without them, resuming ``blip_pretrain`` fails, and so does fine-tuning ``blip_retrieval`` from one's own
pretraining (KeyError ``visual_encoder_m.pos_embed``). The momentum weights start as copies of those that they
follow, as at the beginning of any training. Checkpoints of ``runner_tldr`` hold them and need no conversion.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from lavis_tldr import log
from lavis_tldr.runners.checkpoint import read_checkpoint, save_checkpoint
from lavis_tldr.user_errors import run_command

logger = logging.getLogger(__name__)

# The modules that BLIP and ALBEF follow by a moving average, as NAME_m.
FOLLOWED = ("visual_encoder", "text_encoder", "vision_proj", "text_proj")


def add_momentum_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A model's state with a copy ``NAME_m.*`` of each ``NAME.*`` in ``FOLLOWED`` that has none yet.

    Raises:
        ValueError: If the state has no module to follow.
    """
    completed = dict(state)
    for name, value in state.items():
        module, _, rest = name.partition(".")
        if module in FOLLOWED and rest:
            completed.setdefault(f"{module}_m.{rest}", value.clone())
    if not any(name.startswith(tuple(f"{module}." for module in FOLLOWED)) for name in state):
        raise ValueError(f"The checkpoint has none of the modules {', '.join(FOLLOWED)}: it is of another model.")
    return completed


def convert(source: Path, target: Path) -> int:
    """Write ``source`` with its momentum weights to ``target``; returns how many were added."""
    checkpoint = read_checkpoint(source)
    weights = add_momentum_weights(checkpoint["model"])
    added = len(weights) - len(checkpoint["model"])
    save_checkpoint({**checkpoint, "model": weights}, target)
    return added


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Add momentum weights to a BLIP checkpoint of LAVIS.")
    parser.add_argument("source", type=Path, help="checkpoint that LAVIS saved")
    parser.add_argument("target", type=Path, help="file to write")
    args = parser.parse_args(argv)

    def command() -> None:
        with log.to_stderr():
            logger.info("%d momentum weights added: %s", convert(args.source, args.target), args.target)

    return run_command(command)


if __name__ == "__main__":
    raise SystemExit(main())
