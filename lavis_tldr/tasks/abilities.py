"""Which models a task of the downstream evaluations can train and evaluate: said before any data is read."""

from collections.abc import Mapping

from lavis.common.registry import registry

_START = {
    "blip": "convert its checkpoint (`lavis-tldr convert SOURCE TARGET --for {arch}`) and name it model.pretrained",
    "vilt": "name its checkpoint model.pretrained, with model.load_pretrained: True",
}


def require_model(cfg, task: str, able: Mapping[str, str], purpose: str) -> str:
    """Refuse a model that a task can't use.

    Args:
        cfg: The run's LAVIS config.
        task: The task's name.
        able: By family (the first part of a model's name), the model of it that can.
        purpose: What the model is to do, as in "it can't ...".

    Returns:
        The model of ``able`` that the run's is, or is derived from.

    Raises:
        ValueError: If it is none of them; says why, and what to use instead.
    """
    arch = cfg.model_cfg.arch
    model_class = registry.get_model_class(arch)
    for name in able.values():
        if issubclass(model_class, registry.get_model_class(name)):
            return name
    family = arch.split("_")[0]
    if family == "clip":
        why = f"CLIP reads images and texts apart and nothing joins them, so it can't {purpose}"
    else:
        why = f"it has no head to {purpose} with"
    instead = f"Use model.arch: {' or '.join(able.values())}."
    if family in able:
        instead = f"Use model.arch: {able[family]}; to start from a {arch}, {_START[family].format(arch=able[family])}."
    raise ValueError(f"the task {task} can't use {arch}: {why}. {instead}")
