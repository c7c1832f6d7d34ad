"""The ledger's reasons and captions put into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lavis_tldr.reduction.criteria import CRITERIA, RANDOM
from lavis_tldr.report.texts import printable
from lavis_tldr.report.units import count, number, ordinal, place, share
from lavis_tldr.runs.outcomes import (
    DROPPED,
    FAILED,
    FILTERED,
    KEPT,
    LOST,
    NEAR_DUPLICATE,
    NOT_DRAWN,
    SHORT_CAPTION,
    SHORTCOMINGS,
    STANDS_IN,
)

# Criterion -> which end of what it goes by is the best.
_BEST = {
    "aligned": ("best", "alignment"),
    "large_distance": ("farthest", "from its centroid"),
    "hard_sample": ("farthest", "from its prototype"),
    "easy_sample": ("nearest", "to its prototype"),
    "gradient": ("largest", "gradient"),
}
_MEASURES = {"alignment": "alignment score"}


def explain_outcome(
    reason: str,
    standing: dict,
    *,
    selection: Mapping,
    score: float | None = None,
    twin: str = "",
    stand_ins: Sequence[str] = (),
    is_passed_over: bool = False,
) -> str:
    """Why a sample was kept or not.

    Args:
        reason: The ledger's.
        standing: The sample's in its cluster (`cluster_standing`), with its ``draw`` where that decided; empty for one
            that failed.
        selection: Config of the stage select.
        score: What the selection ranked the sample by, None where it has none.
        twin: The reason of the sample that is named in ``reason``, "" where there is none.
        stand_ins: Who has stood in for the sample since it was lost (`Repairs.stand_ins`).
        is_passed_over: Whether it was to step in for another, and its own image was lost.
    """
    shown = printable(reason)
    why = _why(reason, standing, selection, score, printable(twin) or "not in the ledger", stand_ins)
    told = shown + why
    if is_passed_over:
        told += "; it was to stand in for a lost one, but its own image has gone missing as well"
    return told


def describe_rank(criterion: str, rank: int) -> str:
    """A sample's rank by a criterion, such as "3rd farthest from its centroid"."""
    best, of_what = _BEST[criterion]
    return f"{place(rank, best)} {of_what}"


def _why(
    reason: str, standing: dict, selection: Mapping, score: float | None, twin: str, stand_ins: Sequence[str]
) -> str:
    """What follows the reason."""
    criterion = selection.get("selection", "")
    if reason.startswith(FAILED):
        return "; so it was neither clustered nor scored"
    if reason.startswith(NEAR_DUPLICATE):
        return f", which has the better claim; that one: {twin}"
    if reason.startswith(STANDS_IN):
        return f", as the next understudy of its cluster; that one: {twin}"
    if reason == LOST:
        return f": {_stand_ins(stand_ins)}"
    if reason == SHORT_CAPTION:
        return f": the original has fewer than {count(selection['min_words'])} words"
    if reason.startswith(FILTERED):
        return f": {_filter(standing, selection)}"
    if "draw" in standing:
        return f": {_draw(standing['draw'], selection)}"
    if reason == NOT_DRAWN and criterion in CRITERIA:
        column = CRITERIA[criterion].column
        return f": it has no {_MEASURES.get(column, column)}, and samples with one go first"
    dropped = DROPPED + SHORTCOMINGS.get(criterion, "")
    if reason in (KEPT, dropped) and "score" in standing:
        return f": {_rank(standing, criterion, score, reason == dropped)}"
    return ""


def _stand_ins(stand_ins: Sequence[str]) -> str:
    if not stand_ins:
        return "no understudy was left to stand in for it"
    *lost, last = map(printable, stand_ins)
    after = f", after {', '.join(lost)}, lost as well" if lost else ""
    return f"{last} was taken to stand in for it{after}"


def _filter(standing: dict, selection: Mapping) -> str:
    scope = "all samples" if selection["prefilter_scope"] == "all" else "each cluster"
    passing = f"the best {share(selection['prefilter_share'])} of {scope} passed"
    if "filter" not in standing:
        return passing
    rank, size = standing["filter"]["rank"], standing["filter"]["of"]
    return f"{describe_rank(selection['prefilter'], rank)} of the {count(size)} in its cluster; {passing}"


def _draw(draw: dict, selection: Mapping) -> str:
    where = "the draw from all" if selection["selection"] == RANDOM else "its cluster's draw"
    rank = f"{ordinal(draw['rank'])} of {count(draw['of'])} in {where} (seed {selection['seed']})"
    return f"{rank}, of which {_kept(draw['kept'])}"


def _rank(standing: dict, criterion: str, score: float | None, dropped: bool) -> str:
    rank, lowest = standing["score"], standing["score"]["lowest_kept"]
    conditions = [
        *(["passed the filter"] if standing["num_filtered"] else []),
        *(["repeat no other"] if standing["num_repeats"] else []),
    ]
    among = f" that {' and '.join(conditions)}" if conditions else ""
    text = (
        f"{describe_rank(criterion, rank['rank'])} of the {count(rank['of'])} in its cluster{among}, of which "
        f"{_kept(standing['kept'])}"
    )
    if lowest is not None:
        text += f", the last with {number(lowest if CRITERIA[criterion].more_is_better else 0 - lowest)}"
        if dropped and score == lowest:
            text += " as well: of equals, the draw decides"
    return text


def _kept(kept: int) -> str:
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
