"""Weights of a BLIP pretraining for LAVIS's stock BLIP models, and for resuming.

Stock models load what fits by name and shape and drop the rest without a word. Here what a model lacks is made, what it
has no place for is taken out, and what is left is compared with the model's own names and shapes.

Shapes: Q queue, D embedding.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from lavis.models.vit import interpolate_pos_embed
from omegaconf import OmegaConf
from torch import Tensor

from lavis_tldr.models.conversion.outcome import Conversion, Wishes, by_module
from lavis_tldr.models.conversion.stock_shapes import stock_shapes

State = dict[str, Tensor]

# The modules that BLIP follows by a moving average, as NAME_m.
FOLLOWED = ("visual_encoder", "text_encoder", "vision_proj", "text_proj")
_FOLLOWERS = tuple(f"{module}_m" for module in FOLLOWED)
QUEUES = ("image_queue", "text_queue", "queue_ptr")
_PRETRAINED = (*FOLLOWED, "text_decoder", "itm_head", "temp", *QUEUES)
_NO_IMAGE = -100  # of a feature in `blip_retrieval`'s queue that is of no image of the fine-tuning set
_MAX_NAMES_SHOWN = 3


class _Rule(NamedTuple):
    """How a stock model's weights come from a pretraining's.

    Attributes:
        parts: Modules taken over.
        make: Changes what is taken over into the model's.
        new: What the model has besides, by parts of its names.
    """

    parts: tuple[str, ...]
    make: Callable[[State, Wishes], State] = lambda state, wishes: state
    new: tuple[str, ...] = ()


def add_momentum_weights(state: State) -> State:
    """A model's state with a copy ``NAME_m.*`` of each ``NAME.*`` in ``FOLLOWED`` that has none yet.

    LAVIS leaves them out of checkpoints. They start as copies of what they follow, as at the beginning of any training.
    """
    completed = dict(state)
    for name, value in state.items():
        module, _, rest = name.partition(".")
        if module in FOLLOWED and rest:
            completed.setdefault(f"{module}_m.{rest}", value.clone())
    return completed


def positions_for(state: State, image_size: int) -> State:
    """The state with the ViT's positions for images of another size, by bicubic interpolation; [CLS]'s is kept.

    Raises:
        ValueError: If patches do not fill the image size.
    """
    patch_size = state["visual_encoder.patch_embed.proj.weight"].shape[-1]
    if image_size < patch_size or image_size % patch_size:
        raise ValueError(f"image size {image_size} is no multiple of the ViT's patch size, {patch_size}.")
    num_patches = (image_size // patch_size) ** 2
    # All that LAVIS's function asks of a ViT.
    grid = SimpleNamespace(num_patches=num_patches)
    vit = SimpleNamespace(patch_embed=grid, pos_embed=torch.empty(1, num_patches + 1, 0))
    names = [name for name in ("visual_encoder.pos_embed", "visual_encoder_m.pos_embed") if name in state]
    return {**state, **{name: interpolate_pos_embed(state[name], vit) for name in names}}


def image_size_of(state: State) -> int:
    """Side of the square images that the positions are for, in pixels."""
    patches = state["visual_encoder.pos_embed"].shape[1] - 1
    return round(patches**0.5) * state["visual_encoder.patch_embed.proj.weight"].shape[-1]


def _retrieval_queues(state: State, wishes: Wishes) -> State:
    """Queues of the asked size; features of the pretraining stay in one of the same size until they are overwritten."""
    width, size = state["image_queue"].shape  # (D, Q)
    wanted = size if wishes.queue_size is None else wishes.queue_size
    made = {
        "idx_queue": torch.full((1, wanted), _NO_IMAGE),
        "queue_ptr": torch.zeros_like(state["queue_ptr"]),
    }
    if wanted != size:
        for name in ("image_queue", "text_queue"):
            made[name] = F.normalize(torch.randn(width, wanted), dim=0)
    return {**state, **made}


def _twin_attentions(state: State, wishes: Wishes) -> State:
    """NLVR2's cross-attention of two images: both start as the one of pretraining."""
    made: State = {}
    for name, value in state.items():
        before, cross, rest = name.partition("crossattention.")
        if cross and rest.startswith("self."):
            twins = [rest.replace("self.", f"self{i}.", 1) for i in (0, 1)]
        elif cross and rest.startswith("output.dense."):
            twins = [rest.replace("dense.", f"dense{i}.", 1) for i in (0, 1)]
        else:
            made[name] = value
            continue
        for twin in twins:
            made[f"{before}{cross}{twin}"] = value
    return made


_TOWERS = ("visual_encoder", "text_encoder")
_TOWER_FOLLOWERS = ("visual_encoder_m", "text_encoder_m")
RULES: dict[str, _Rule] = {
    "blip_retrieval": _Rule((*FOLLOWED, *_FOLLOWERS, "itm_head", "temp", *QUEUES), make=_retrieval_queues),
    "blip_caption": _Rule(("visual_encoder", "text_decoder")),
    "blip_vqa": _Rule((*_TOWERS, "text_decoder")),
    "blip_nlvr": _Rule(_TOWERS, make=_twin_attentions, new=("cls_head.", "crossattention.output.merge_layer.")),
    "blip_classification": _Rule((*_TOWERS, *_TOWER_FOLLOWERS), new=("cls_head.", "cls_head_m.")),
    "blip_image_text_matching": _Rule((*FOLLOWED, "itm_head")),
    "blip_feature_extractor": _Rule((*FOLLOWED, "temp")),
}


def to_stock_blip(arch: str, checkpoint: dict, wishes: Wishes) -> Conversion:
    """What stock model ``arch`` loads in full, by ``pretrained`` or by ``finetuned``.

    Args:
        arch: One of `RULES`.
        checkpoint: Of ``blip_pretrain`` or ``blip_pretrain_tldr``.
        wishes: What the model will be built with.

    Raises:
        ValueError: If the checkpoint is of another model, or a name or shape is not the model's.
    """
    rule = RULES[arch]
    source = _pretrained_state(checkpoint)
    state = add_momentum_weights(source)
    taken = {name: value for name, value in state.items() if name.split(".")[0] in rule.parts}
    image_size = wishes.image_size or image_size_of(state)
    made = rule.make(positions_for(taken, image_size), wishes)
    settings = {"image_size": image_size}
    if "image_queue" in made:
        settings["queue_size"] = made["image_queue"].shape[1]
    settings.update(OmegaConf.to_container(OmegaConf.from_dotlist(list(wishes.settings))))
    expected = stock_shapes(arch, wishes.model_type, settings)
    new = [name for name in expected if name not in made and any(part in name for part in rule.new)]
    _check_fit({name: tuple(value.shape) for name, value in made.items()}, expected, new, arch)
    return Conversion(
        {"model": made},
        copied=[name for name in made if name in source],
        made=[name for name in made if name not in source],
        dropped=[name for name in source if name not in made],
        new=new,
    )


def to_resume(checkpoint: dict, wishes: Wishes) -> Conversion:
    """The checkpoint with all that a stock runner wants to go on with the pretraining.

    Raises:
        ValueError: If the checkpoint is of another model, or something is asked for that no resumed run can have.
    """
    if wishes != Wishes():
        raise ValueError("a resumed run goes on with its own sizes: --for resume takes no other option.")
    source = _pretrained_state(checkpoint)
    if "optimizer" not in checkpoint:
        raise ValueError("the checkpoint has no optimizer state, so no run can be resumed from it.")
    state = add_momentum_weights(source)
    return Conversion(
        {**checkpoint, "model": state},
        copied=list(source),
        made=[name for name in state if name not in source],
    )


def _pretrained_state(checkpoint: dict) -> State:
    """The weights of a BLIP pretraining.

    Raises:
        ValueError: If they are of something else, or lack the image tower.
    """
    state = dict(checkpoint["model"])
    modules = {name.split(".")[0] for name in state}
    if "visual_encoder" not in modules and "visual_encoder_m" in modules:
        # Stock runners leave out what has no gradient, by its first name alone. A tower without gradients was frozen,
        # and what follows it is equal to it.
        twins = {name.replace("_m.", ".", 1): v for name, v in state.items() if name.startswith("visual_encoder_m.")}
        state.update(twins)
        modules.add("visual_encoder")
    missing = [part for part in _PRETRAINED if part not in modules]
    if missing == ["visual_encoder"]:
        raise ValueError(
            "the checkpoint leaves out its image tower, which was frozen. Train with run.save_frozen: True."
        )
    if missing:
        raise ValueError(
            f"this is no checkpoint of blip_pretrain: it has no {', '.join(missing)}, but {by_module(state)}."
        )
    return state


def _check_fit(found: dict, expected: dict, new: list[str], arch: str) -> None:
    missing = [name for name in expected if name not in found and name not in new]
    unknown = [name for name in found if name not in expected]
    misshapen = [
        f"{name} is {shape}, expected {expected[name]}"
        for name, shape in found.items()
        if name in expected and shape != expected[name]
    ]
    faults = [
        f"{len(names)} {what} (first: {'; '.join(names[:_MAX_NAMES_SHOWN])})"
        for what, names in (("missing", missing), ("left over", unknown), ("of another shape", misshapen))
        if names
    ]
    if faults:
        raise ValueError(
            f"the checkpoint does not fit {arch}: {', '.join(faults)}. Say by --options what {arch} will be built with "
            "(embed_dim=128, med_config_path=/absolute/bert.json), or by --model-type which of its types."
        )
