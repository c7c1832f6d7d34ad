"""What to keep for a planned training, put down: in words, as a table, as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lavis_tldr.advice.budget import BETTER, WHOLE_SET
from lavis_tldr.report.spread import with_error
from lavis_tldr.report.tables import markdown_table
from lavis_tldr.report.wording import count, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAR = 10  # times as long as what was measured


def budget_words(budget: dict) -> list[str]:
    """The recommendation, and how sure it is."""
    return [_answer(budget), *_warning(budget), _basis(budget), *_doubts(budget)]


def _answer(budget: dict) -> str:
    seen = f"For {count(budget['samples_seen'])} samples seen ({budget['passes']:.3g} passes over the whole set)"
    pairs = f"{count(budget['pairs'])} pairs, each seen {budget['repeats']:.3g} times"
    if budget["ratio"] is None:
        return f"{seen}: keep the whole set ({pairs})."
    return f"{seen}: keep {budget['ratio']:g} ({pairs}). Expected against the whole set: {_gain(budget)}."


def _warning(budget: dict) -> list[str]:
    best = budget["best_reduced"]
    if budget["verdict"] == WHOLE_SET:
        if best["ratio"] >= 1:
            return ["WARNING: for so long a training no smaller share is expected to be better than the whole set."]
        return [
            f"WARNING: the whole set is the better choice: the best smaller share, {best['ratio']:g}, is expected at "
            f"{_gain(best)} against it."
        ]
    if budget["verdict"] == BETTER:
        return []
    if best["gain_error"] is None:
        return [
            "WARNING: a single seed has no error bar: nothing says that this is better than the whole set (--seeds)."
        ]
    return [
        "WARNING: it can't be told from the whole set, from which it differs by less than a standard error: the whole "
        "set may be as good. More --seeds or more pairs to score on (--held-out, --validate-on) would tell better."
    ]


def _basis(budget: dict) -> str:
    lengths = budget["lengths"]
    longest = lengths[-1]
    if budget["growth"] is None:
        return f"Measured at that length: {count(longest['num_steps'])} steps of the small retrieval model."
    growth = budget["growth"]
    grew = f"grew with the length to the power {growth:.2f}" if growth else "did not grow with the length"
    return (
        f"EXTRAPOLATED: the longest training measured is {longest['passes']:.3g} passes ({count(longest['num_steps'])} "
        f"steps, --max-steps), the planned one {budget['beyond']:.3g} times as long. Over {len(lengths)} lengths "
        f"the best share {grew}, and is taken to go on so; its gain lies between what it was there and what its trend "
        "comes to."
    )


def _doubts(budget: dict) -> list[str]:
    told = []
    if budget["low"] is not None and budget["low"] < budget["high"]:
        low, high = ("the whole set" if budget[name] >= 1 else f"{budget[name]:.3g}" for name in ("low", "high"))
        told.append(f"With other seeds, two in three such recommendations lie between {low} and {high}.")
    if budget["beyond"] >= _FAR:
        told.append("So far beyond what was measured, take it for a direction, not for a figure: raise --max-steps.")
    longest = budget["lengths"][-1]
    smallest = longest["arms"][0]["ratio"]
    if smallest is not None and longest["best"]["ratio"] == smallest:
        told.append(f"The smallest ratio tried, {smallest:g}, is the best at the longest length: try smaller --ratios.")
    return told


def _gain(row: dict) -> str:
    return with_error(f"{row['gain']:+.1%}", None if row["gain_error"] is None else 100 * row["gain_error"], ".1f")


def budget_notes(budget: dict, num_drawn: int) -> list[str]:
    """What the recommendation rests on."""
    told = [
        "The share is the best of several by the same figures that tell its gain, which so looks a little better than "
        "it is. Your own model may wear pairs out faster or slower than the small one here.",
    ]
    if num_drawn < budget["num_pairs"]:
        told.append(
            f"Passes and repeats are those of {count(num_drawn)} drawn pairs; the whole set has "
            f"{count(budget['num_pairs'])}."
        )
    return told


def lengths_table(budget: dict) -> list[str]:
    """Lines of a Markdown table of the lengths that were measured."""
    header = ("steps", "passes", "samples seen", "best share", "repeats an image", "best ratio tried", "its gain")
    return markdown_table(header, map(_cells, budget["lengths"]))


def _cells(row: dict) -> list[str]:
    told = [count(row["num_steps"]), f"{row['passes']:.3g}", count(row["samples_seen"])]
    best = row["best"]
    if best is None:
        return [*told, "nothing learnt", "", "", ""]
    tried = "whole set" if best["ratio"] is None else f"{best['ratio']:g}"
    gain = _gain({"gain": best["gain"], "gain_error": best["error"]})
    return [*told, share(best["share"]), f"{best['repeats']:.3g}", tried, gain]


def length_rows(budget: dict) -> list[dict]:
    """A row for each length and ratio, for a CSV."""
    return [
        {**{name: row[name] for name in ("num_steps", "passes", "samples_seen")}, **arm}
        for row in budget["lengths"]
        for arm in row["arms"]
    ]


def draw_lengths(axes: Axes, budget: dict) -> None:
    """The best share by length, and what is recommended for the planned one."""
    measured = [row for row in budget["lengths"] if row["best"]]
    axes.plot([row["passes"] for row in measured], [row["best"]["share"] for row in measured], "o-", label="best share")
    ratio = 1.0 if budget["ratio"] is None else budget["ratio"]
    ends = (ratio, ratio) if budget["low"] is None else (budget["low"], budget["high"])
    spread = [[max(0.0, ratio - ends[0])], [max(0.0, ends[1] - ratio)]]
    axes.errorbar([budget["passes"]], [ratio], yerr=spread, marker="*", capsize=3, color="tab:green", label="planned")
    axes.set_xscale("log")
    axes.set_xlabel("passes over the whole set")
    axes.set_ylabel("share to keep")
    axes.legend()
