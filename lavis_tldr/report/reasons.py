"""The ledger's reasons and captions put into words."""

from __future__ import annotations

from collections.abc import Sequence

from lavis_tldr.reduction.outcome import (
    DROPPED,
    FAILED,
    KEPT,
    LOST,
    NEAR_DUPLICATE,
    NOT_DRAWN,
    SHORTCOMINGS,
    STANDS_IN,
)

from .texts import printable
from .units import count, number, ordinal, place

LOW_ALIGNMENT = DROPPED + SHORTCOMINGS["aligned"]


def explain_outcome(
    reason: str,
    standing: dict,
    *,
    alignment: float | None,
    seed: int | None = None,
    twin: str = "",
    stand_ins: Sequence[str] = (),
    is_passed_over: bool = False,
) -> str:
    """Why a sample was kept or not.

    Args:
        reason: The ledger's.
        standing: The sample's in its cluster (`cluster_standing`); empty for one that failed.
        alignment: The sample's, None where it has none.
        seed: Of a uniform draw; None where alignment decided.
        twin: The reason of the sample that is named in ``reason``, "" where there is none.
        stand_ins: Who has stood in for the sample since it was lost (`Repairs.stand_ins`).
        is_passed_over: Whether it was to step in for another, and its own image was lost.
    """
    told = _explain(reason, standing, alignment, seed, printable(twin) or "not in the ledger", stand_ins)
    if is_passed_over:
        told += "; it was to stand in for a lost one, but its own image has gone missing as well"
    return told


def _explain(
    reason: str, standing: dict, alignment: float | None, seed: int | None, twin: str, stand_ins: Sequence[str]
) -> str:
    shown = printable(reason)
    if reason.startswith(FAILED):
        return f"{shown}; so it was neither clustered nor scored"
    if reason.startswith(NEAR_DUPLICATE):
        return f"{shown}, which has the better claim; that one: {twin}"
    if reason.startswith(STANDS_IN):
        return f"{shown}, as the next understudy of its cluster; that one: {twin}"
    if reason == LOST:
        return f"{shown}: {_stand_ins(stand_ins)}"
    if seed is not None and "draw_rank" in standing:
        drawn = f"{ordinal(standing['draw_rank'])} of {count(standing['size'])} in its cluster's draw (seed {seed})"
        return f"{shown}: {drawn}, of which {_kept(standing)}"
    if reason == NOT_DRAWN:
        return f"{shown}: it has no alignment score, and samples with one go first"
    if reason in (KEPT, LOW_ALIGNMENT) and "alignment_rank" in standing:
        return f"{shown}: {_alignment(standing, alignment, reason == LOW_ALIGNMENT)}"
    return shown


def _stand_ins(stand_ins: Sequence[str]) -> str:
    if not stand_ins:
        return "no understudy was left to stand in for it"
    *lost, last = map(printable, stand_ins)
    after = f", after {', '.join(lost)}, lost as well" if lost else ""
    return f"{last} was taken to stand in for it{after}"


def _alignment(standing: dict, alignment: float | None, dropped: bool) -> str:
    among = " that repeat no other" if standing["num_repeats"] else ""
    lowest = standing["lowest_kept"]
    text = (
        f"{place(standing['alignment_rank'], 'best')} alignment of the {count(standing['num_ranked'])} in its "
        f"cluster{among}, of which {_kept(standing)}"
    )
    if lowest is not None:
        text += f", the last with {number(lowest)}"
        if dropped and alignment == lowest:
            text += " as well: of equals, the draw decides"
    return text


def _kept(standing: dict) -> str:
    kept = standing["kept"]
    return f"{count(kept)} {'is' if kept == 1 else 'are'} kept" if kept else "none is kept"


def explain_caption(
    origin: str, refine: dict, alignments: Sequence[float | None], original: str, generated: str
) -> str:
    """Where a kept sample's caption comes from, and why from there.

    Args:
        origin: The ledger's ``caption_from``.
        refine: Config of the stage refine.
        alignments: Of the original caption and of the generated one, None where there is none.
        original: The original caption.
        generated: The generated caption.
    """
    recipe = refine.get("recipe", "")
    told = {
        "original": "the original",
        "generated": "the generated one",
        "original_generated": "both, joined",
        "drawn": "both, one of them drawn at every epoch of training",
    }
    if origin not in told:
        return "none: the original and the generated one are empty"
    other, text = ("generated", generated) if origin == "original" else ("original", original)
    if recipe != origin and not text.strip():
        return f"{told[origin]}: the {other} one is empty"
    if recipe == "gated":
        return f"{told[origin]}: {_by_threshold(origin, alignments, refine['alignment_threshold'])}"
    return f"{told[origin]}, as recipe {recipe} says" if recipe else told[origin]


def _by_threshold(origin: str, alignments: Sequence[float | None], threshold: float) -> str:
    shown = ["none" if value is None else number(value) for value in alignments]
    if origin == "original_generated":
        return f"their alignments {shown[0]} and {shown[1]} reach the threshold {number(threshold)}"
    own, other = shown if origin == "original" else reversed(shown)
    if any(value is not None and value >= threshold for value in alignments):
        return f"its alignment {own} reaches the threshold {number(threshold)}, the other's {other} does not"
    return f"neither reaches the threshold {number(threshold)}; its alignment {own} is not below the other's {other}"
