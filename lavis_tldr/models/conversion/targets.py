"""What a pretraining checkpoint can be converted for: one table."""

from collections.abc import Callable
from functools import partial

from lavis_tldr.models.conversion.blip import RULES, to_resume, to_stock_blip
from lavis_tldr.models.conversion.outcome import Conversion, Wishes
from lavis_tldr.user_errors import closest

# Name -> what makes a `Conversion` of a checkpoint ({"model": weights, ...}) and wishes.
TARGETS: dict[str, Callable[[dict, Wishes], Conversion]] = {
    "resume": to_resume,
    **{arch: partial(to_stock_blip, arch) for arch in RULES},
}


def convert(checkpoint: dict, target: str, wishes: Wishes) -> Conversion:
    """Convert a checkpoint for one of `TARGETS`.

    Raises:
        ValueError: If there is no such target, or the checkpoint does not fit it.
    """
    if target not in TARGETS:
        raise ValueError(f"a checkpoint can't be converted for {target!r}{closest(target, TARGETS)}.")
    return TARGETS[target](checkpoint, wishes)
