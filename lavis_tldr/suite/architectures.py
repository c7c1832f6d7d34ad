"""Which architecture can take which evaluation: at once, after fine-tuning, or never, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lavis_tldr.skills import AFTER_FINE_TUNING, ANSWER, COMPARE, DESCRIBE, FAMILIES, IMPOSSIBLE, MATCH
from lavis_tldr.suite.evaluations import EVALUATIONS, Evaluation
from lavis_tldr.user_errors import closest


@dataclass(frozen=True)
class Load:
    """How a checkpoint becomes a model with a skill.

    Attributes:
        arch: LAVIS's name of the model, which loads it as ``finetuned``: as it is.
        converted: `models.conversion` must turn the checkpoint into one of ``arch`` first.
    """

    arch: str
    converted: bool = False


@dataclass(frozen=True)
class Architecture:
    """What a checkpoint of one of LAVIS's models is.

    Attributes:
        family: One of `FAMILIES`.
        skills: What it can do, and as which model.
        finetuned: It is a fine-tuned model, not a pretraining.
    """

    family: str
    skills: Mapping[str, Load] = field(default_factory=dict)
    finetuned: bool = True


def _itself(arch: str, *skills: str) -> dict[str, Load]:
    return {skill: Load(arch) for skill in skills}


ARCHITECTURES: dict[str, Architecture] = {
    "clip_pretrain": Architecture("CLIP", _itself("clip_pretrain", MATCH), finetuned=False),
    "vilt_pretrain": Architecture("ViLT", _itself("vilt_pretrain", MATCH), finetuned=False),
    "vilt_retrieval": Architecture("ViLT", _itself("vilt_retrieval", MATCH)),
    "vilt_vqa": Architecture("ViLT", _itself("vilt_vqa", ANSWER)),
    "vilt_nlvr": Architecture("ViLT", _itself("vilt_nlvr", COMPARE)),
    "blip_pretrain_tldr": Architecture("BLIP", _itself("blip_pretrain_tldr", MATCH, DESCRIBE), finetuned=False),
    "blip_pretrain": Architecture(
        "BLIP",
        {MATCH: Load("blip_retrieval", converted=True), DESCRIBE: Load("blip_caption", converted=True)},
        finetuned=False,
    ),
    "blip_retrieval": Architecture("BLIP", _itself("blip_retrieval", MATCH)),
    "blip_caption": Architecture("BLIP", _itself("blip_caption", DESCRIBE)),
    "blip_caption_tldr": Architecture("BLIP", _itself("blip_caption_tldr", DESCRIBE)),
    "blip_vqa": Architecture("BLIP", _itself("blip_vqa", ANSWER)),
    "blip_nlvr": Architecture("BLIP", _itself("blip_nlvr", COMPARE)),
}


def architecture_of(arch: str) -> Architecture:
    """The entry of a model.

    Raises:
        ValueError: If there is none.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"a checkpoint of {arch!r} can't be evaluated{closest(arch, ARCHITECTURES)}.")
    return ARCHITECTURES[arch]


def refusal(arch: str, evaluation: Evaluation) -> str | None:
    """Why a checkpoint of ``arch`` can't take the evaluation; None if it can."""
    found, skill = architecture_of(arch), evaluation.skill
    if skill in found.skills:
        return None
    if reason := IMPOSSIBLE.get((found.family, skill)):
        return f"{reason}."
    if found.finetuned:
        return f"{arch} was fine-tuned for another task, and can do that alone: give the pretraining's own checkpoint."
    return f"needs fine-tuning first, as {AFTER_FINE_TUNING[found.family, skill]} (projects/tldr/finetune)."


def pretrainings_of(family: str) -> list[Architecture]:
    """Architectures of pretraining of a family."""
    return [found for found in ARCHITECTURES.values() if found.family == family and not found.finetuned]


def overview() -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of architectures by evaluations: what each can do at once, and what it can't."""
    rows = []
    for evaluation in EVALUATIONS.values():
        cells = [_cell(family, evaluation.skill) for family in FAMILIES]
        rows.append([f"{evaluation.title} (`{evaluation.name}`)", " and ".join(evaluation.tables), *cells])
    return ["evaluation", "the paper's table", *FAMILIES], rows


def _cell(family: str, skill: str) -> str:
    if reason := IMPOSSIBLE.get((family, skill)):
        return f"never: {reason}"
    if any(skill in found.skills for found in pretrainings_of(family)):
        return "zero-shot, or fine-tuned"
    return f"fine-tuned as `{AFTER_FINE_TUNING[family, skill]}`"
