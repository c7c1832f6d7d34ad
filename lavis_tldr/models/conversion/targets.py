"""What a pretraining checkpoint can be converted for: one table."""

from collections.abc import Callable
from functools import partial

from lavis_tldr.models.clip_conversion import to_stock_clip
from lavis_tldr.models.conversion.blip import RULES, to_resume, to_stock_blip
from lavis_tldr.models.conversion.outcome import Conversion, Wishes
from lavis_tldr.user_errors import closest


def _to_clip(checkpoint: dict, wishes: Wishes) -> Conversion:
    """For stock ``clip``, which loads it strictly."""
    if wishes.queue_size or wishes.model_type or wishes.settings:
        raise ValueError("--for clip takes --image-size alone: the towers are those of the checkpoint.")
    content = to_stock_clip(checkpoint["model"], image_size=wishes.image_size)
    kept = content["state_dict"]
    dropped = [name for name in checkpoint["model"] if name not in kept]
    return Conversion(content, copied=list(kept), dropped=dropped)


# Name -> what makes a `Conversion` of a checkpoint ({"model": weights, ...}) and wishes.
TARGETS: dict[str, Callable[[dict, Wishes], Conversion]] = {
    "resume": to_resume,
    "clip": _to_clip,
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
