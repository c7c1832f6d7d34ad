"""What became of a sample (`why`) as text for a terminal, and the ledger's reasons and captions put into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lavis_tldr.reduction.criteria import CRITERIA, RANDOM
from lavis_tldr.reduction.refinement import GENERATED, ORIGINAL, ORIGINS, RECIPES
from lavis_tldr.report.wording import count, entry, number, ordinal, place, printable, quoted, share, size
from lavis_tldr.runs.outcomes import (
    CONCEPT_CAP,
    DROPPED,
    FAILED,
    FILTERED,
    KEPT,
    LOST,
    NEAR_DUPLICATE,
    NO_CONCEPT,
    NOT_DRAWN,
    SHORT_CAPTION,
    SHORTCOMINGS,
    STANDS_IN,
)
from lavis_tldr.sources.record import COLUMN_MARK


def why_lines(facts: dict) -> list[str]:
    """What `why` found, in lines."""
    source = facts["source"]
    lines = entry("key", printable(facts["key"]), 0)
    if source["image_key"] != facts["key"]:
        lines += entry("image", f"{printable(source['image_key'])}, which other captions share")
    lines += entry("source", f"part {printable(source['part'])}; {_place(source)}")
    if source["error"]:
        lines += entry("error", printable(source["error"]))
    lines += entry("caption", quoted(source["caption_original"]))
    if facts["scores"]:
        lines += entry("scores", ", ".join(f"{name} {number(value)}" for name, value in facts["scores"].items()))
    if not facts["sets"]:
        lines += entry("sets", "none has begun yet", 0)
    for name, account in facts["sets"].items():
        lines += ["", *_set_lines(name, account)]
    return lines


def _place(source: dict) -> str:
    path = source["image_path"]
    if not path:
        return "no image"
    if source["image_offset"] is None or source["image_offset"] < 0:
        return printable(path)
    where = "row" if COLUMN_MARK in path else "byte"
    return f"{printable(path)}, {size(source['image_size'])} at {where} {count(source['image_offset'])}"


def _set_lines(name: str, account: dict) -> list[str]:
    verdict = {True: "KEPT", False: "not kept", None: "not decided yet"}[account["kept"]]
    lines = entry("set", f"{printable(name)}: {verdict}", 0)
    if account["reason"] is not None:
        lines += entry("why", account["explanation"])
    if cluster := account["cluster"]:
        of = f" of {count(cluster['of'])}" if cluster["of"] else ""
        kept = f", {count(cluster['kept'])} kept" if cluster["kept"] is not None else ""
        quota = f" (quota {count(cluster['quota'])})" if cluster["quota"] is not None else ""
        lines += entry("cluster", f"{cluster['id']}{of}: {count(cluster['size'])} samples{kept}{quota}")
        lines += entry("distance", _distance(account, cluster["size"]))
    if alignment := account["alignment"]:
        rank = f"{place(alignment['rank'], 'best')} of {count(alignment['of'])}"
        lines += entry("alignment", f"{number(alignment['value'])}, {rank}")
    if (score := account["score"]) and score["by"] != "aligned":
        rank = f"{describe_rank(score['by'], score['rank'])} of {count(score['of'])}"
        lines += entry("score", f"{number(score['value'])}, {rank}")
    if account["understudy"]:
        lines += entry(
            "understudy", f"{ordinal(account['understudy'])} in line if an image of its cluster goes missing"
        )
    captions = account["captions"]
    if captions["generated"] is not None:
        lines += entry("generated", quoted(captions["generated"]))
    if captions["final"] is not None:
        lines += entry("final", f"{quoted(captions['final'])} ({captions['explanation']})")
    return lines


def _distance(account: dict, cluster_size: int) -> str:
    distance, cosine = account["distance"], account["prototype_distance"]
    rank = f"{place(distance['rank'], 'nearest')} of {count(cluster_size)}"
    by_cosine = "" if cosine is None else f"; by cosine {number(cosine)}"
    return f"{number(distance['value'])} to the centroid (squared L2), {rank}{by_cosine}"


def explain_outcome(
    reason: str,
    standing: dict,
    *,
    selection: Mapping,
    score: float | None = None,
    twin: str = "",
    stand_ins: Sequence[str] = (),
    is_passed_over: bool = False,
    repeats: int | None = None,
    concepts: Mapping | None = None,
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
        repeats: How often it is kept, None where nobody is kept more than once.
        concepts: With a concept cap: how many of a concept pass (``cap``), how many concepts there are (``number``),
            and the samples of each of the sample's own (``sizes``).
    """
    shown = printable(reason)
    if repeats and repeats > 1:
        shown = f"{KEPT} {count(repeats)} times{shown.removeprefix(KEPT)}"
    if reason in (FILTERED + CONCEPT_CAP, FILTERED + NO_CONCEPT):
        return shown + _concepts(concepts)
    why = _why(reason, standing, selection, score, printable(twin) or "not in the ledger", stand_ins)
    told = shown + why
    if reason == KEPT and repeats is not None:
        told += (
            f"; each repeat counts as {number(selection['repeat_penalty'])} standard deviations less, and "
            f"{count(selection['max_repeats'])} places are the most"
        )
    if is_passed_over:
        told += "; it was to stand in for a lost one, but its own image has gone missing as well"
    return told


def describe_rank(criterion: str, rank: int) -> str:
    """A sample's rank by a criterion, such as "3rd farthest from its centroid"."""
    return place(rank, CRITERIA[criterion].best)


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
        return f": it has no {CRITERIA[criterion].measure}, and samples with one go first"
    dropped = DROPPED + SHORTCOMINGS.get(criterion, "")
    if reason in (KEPT, dropped) and "score" in standing:
        return f": {_rank(standing, criterion, score, reason == dropped)}"
    return ""


def _concepts(concepts: Mapping | None) -> str:
    if not concepts:
        return ""
    if not concepts["sizes"]:
        return f": its caption has none of the {count(concepts['number'])} concepts"
    sizes = ", ".join(f"{printable(name)} ({count(size)} samples)" for name, size in concepts["sizes"].items())
    return f": of each concept the best {count(concepts['cap'])} pass, and it is not among those of {sizes}"


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
    if not origin:
        return "none: the original and the generated one are empty"
    told = ORIGINS[origin].told if origin in ORIGINS else printable(origin)
    name = refine.get("recipe", "")
    recipe = RECIPES.get(name)
    is_wanted_of_all = recipe is not None and not recipe.needs_alignment and recipe.choose([original]) == [origin]
    other, text = (GENERATED, generated) if origin == ORIGINAL else (ORIGINAL, original)
    if not is_wanted_of_all and not text.strip():
        return f"{told}: the {other} one is empty"
    if recipe is not None and recipe.needs_alignment:
        gate = refine["alignment_threshold"], refine.get("gate_margin", 0.0)
        return f"{told}: {recipe.explain(origin, alignments, *gate)}"
    return f"{told}, as recipe {name} says" if name else told
