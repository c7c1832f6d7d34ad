"""Which models the tasks with a head of their own can train and evaluate: said before any data is read."""

from lavis.common.registry import registry

from lavis_tldr.skills import AFTER_FINE_TUNING, ANSWER, COMPARE, IMPOSSIBLE, family_of

_PURPOSE = {ANSWER: "answer questions about images", COMPARE: "tell whether a sentence holds of two images"}
_START = {
    "BLIP": "convert its checkpoint (`lavis-tldr convert SOURCE TARGET --for {arch}`) and name it model.pretrained",
    "ViLT": "name its checkpoint model.pretrained, with model.load_pretrained: True",
}


def require_model(cfg, task: str, skill: str) -> str:
    """Refuse a model that a task can't use.

    Args:
        cfg: The run's LAVIS config.
        task: The task's name.
        skill: What the model must be able to do: `ANSWER` or `COMPARE`.

    Returns:
        The model with that skill that the run's is, or is derived from.

    Raises:
        ValueError: If it is none of them; says why, and what to use instead.
    """
    arch = cfg.model_cfg.arch
    able = {family: name for (family, known), name in AFTER_FINE_TUNING.items() if known == skill}
    for name in able.values():
        if issubclass(registry.get_model_class(arch), registry.get_model_class(name)):
            return name
    family = family_of(arch)
    why = IMPOSSIBLE.get((family, skill), f"it has no head to {_PURPOSE[skill]} with")
    instead = f"Use model.arch: {' or '.join(sorted(able.values()))}."
    if family in able:
        instead = f"Use model.arch: {able[family]}; to start from a {arch}, {_START[family].format(arch=able[family])}."
    raise ValueError(f"the task {task} can't use {arch}: {why}. {instead}")
