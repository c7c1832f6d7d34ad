"""The advice put down: in words, with what it rests on, as a table, as a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lavis_tldr.advice.planned_account import budget_words, draw_lengths, length_rows, lengths_table
from lavis_tldr.advice.pool import Pool
from lavis_tldr.advice.recommendation import WHOLE
from lavis_tldr.advice.trainings import TrainingOptions, Trainings
from lavis_tldr.files import write_whole
from lavis_tldr.report.plots import draw_curve, new_figure, save_png, tick_at
from lavis_tldr.report.spread import with_error
from lavis_tldr.report.tables import markdown_table, write_csv
from lavis_tldr.report.wording import count, number, share

# Heading -> the share of a row that stands below it.
_SHARES = {
    "codes seen": "codes_seen",
    "near duplicates": "near_duplicates",
    "fitting": "aligned",
    "rare words": "rare_words",
}


def table_lines(advice: dict) -> list[str]:
    """The trade-off as a Markdown table, without what nothing is known of; for a planned training also its lengths."""
    rows = [_cells(row) for row in (advice["whole"], *advice["ratios"])]
    headings = [heading for heading in rows[0] if any(row[heading] for row in rows)]
    lines = markdown_table(headings, ([row[heading] for heading in headings] for row in rows))
    return [*lines, "", *lengths_table(advice["budget"])] if "budget" in advice else lines


def _cells(row: dict) -> dict[str, str]:
    """Heading -> what stands below it; "" for nothing."""
    return {
        "keep ratio": "whole set" if row["ratio"] is None else f"{row['ratio']:g}",
        "pairs": count(row["pairs"]),
        "mean recall": with_error(f"{row['mean_recall']:.2f}", row["recall_error"]),
        "quality": "" if row["quality"] is None else _gives(row),
        "clusters": count(row["clusters"]),
        "effective": f"{row['effective_clusters']:.1f}",
        "mean alignment": "" if row["mean_alignment"] is None else number(row["mean_alignment"]),
        **{heading: "" if row[name] is None else share(row[name]) for heading, name in _SHARES.items()},
    }


def _gives(row: dict) -> str:
    error = row["quality_error"]
    return with_error(share(row["quality"]), None if error is None else 100 * error, ".1f")


def words(advice: dict) -> list[str]:
    """The recommendation, how sure it is, and what it rests on."""
    answer = budget_words(advice["budget"]) if "budget" in advice else [_answer(advice), *_doubts(advice)]
    return [*answer, "", *(f"- {note}" for note in advice["notes"])]


def _answer(advice: dict) -> str:
    told, by_ratio = advice["recommendation"], {row["ratio"]: row for row in advice["ratios"]}
    reference = "the whole set" if told["against"] == WHOLE else "the best of all tried"
    goal = f"{share(told['target'])} of what {reference} gives"
    best = by_ratio[told["best"]]
    if told["ratio"] is None:
        return f"No ratio reaches the target, {goal}. The best, {told['best']:g}, gives {_gives(best)}."
    row = by_ratio[told["ratio"]]
    text = f"Keep {told['ratio']:g} ({count(row['pairs'])} pairs). It gives {_gives(row)} and is the smallest ratio "
    text += f"that comes within a standard error of the target, {goal}, or above it."
    if best is not row:
        text += f" The best, {told['best']:g}, gives {_gives(best)}."
    return text


def _doubts(advice: dict) -> list[str]:
    told = advice["recommendation"]
    if told["num_seeds"] == 1:
        return ["How sure that is nothing says: a single seed has no error bar. Give more --seeds."]
    if told["ratio"] is None:
        return []
    if told["sure_ratio"] == told["ratio"]:
        return [f"It lies above the target by more than its standard error ({told['num_seeds']} seeds)."]
    text = f"It can't be told from the target: they differ by less than a standard error ({told['num_seeds']} seeds)."
    if told["sure_ratio"] is not None:
        text += f" The smallest ratio that lies above it by more is {told['sure_ratio']:g}."
    if told["seeds_needed"] is not None:
        return [f"{text} About {count(told['seeds_needed'])} seeds would tell (--seeds)."]
    return [f"{text} More seeds alone would hardly tell: more pairs to score on would (--held-out, --validate-on)."]


def notes(
    pool: Pool, trainings: Trainings, options: TrainingOptions, exhausted: Sequence[float], *, is_apart: bool
) -> list[str]:
    """What an advice rests on: sentences, each to stand for itself.

    Args:
        pool: Drawn pairs.
        trainings: What came of the trainings.
        options: How they were made.
        exhausted: Ratios left out, which keep no more than smaller ones.
        is_apart: Whether they were scored on a validation set apart.
    """
    told = [_scored_on_apart(trainings) if is_apart else _scored_on_pool(pool, trainings, options)]
    if options.trusted_share < 1 and not is_apart:
        told.append(
            "The scores that choose what is scored on may choose what is kept as well: small ratios then look better "
            "than they are."
        )
    told.append("Among more pairs to score on the right one is harder to find, and sets differ more.")
    told += [
        f"Every training is {count(trainings.num_steps)} steps of a small retrieval model over frozen features, "
        f"{options.epochs:g} passes over the whole set; a longer training asks for more pairs.",
        "Original captions: what refining adds is not in the curve.",
        f"Near duplicates: of one cluster, cosine of their centred features {options.twin_threshold:g} or more.",
    ]
    told += _left_out(exhausted, "keep no more than a smaller one: near duplicates and what is filtered are never kept")
    return told + _left_out(trainings.too_small, f"keep fewer drawn pairs than a batch of {options.batch_size} takes")


def _scored_on_apart(trainings: Trainings) -> str:
    return f"Scored on the {count(trainings.num_held_out)} captions of the set given by --validate-on."


def _scored_on_pool(pool: Pool, trainings: Trainings, options: TrainingOptions) -> str:
    best = options.trusted_share
    where = f"the {best:.0%} with the best alignment" if best < 1 else "all, right or wrong"
    same = f"images nearly the same (cosine {options.twin_threshold:g})"
    return (
        f"Scored on {count(trainings.num_held_out)} pairs held out of {count(len(pool))} drawn ones, others for every "
        f"seed, from {where}; nothing trains on them, nor on {same}."
    )


def _left_out(ratios: Sequence[float], why: str) -> list[str]:
    return [f"Left out: {', '.join(f'{ratio:g}' for ratio in ratios)}, which {why}."] if ratios else []


def write_account(advice: dict, folder: Path) -> list[Path]:
    """Write ``advice.md``, ``advice.csv``, ``advice.json`` and ``advice.png``; their paths.

    For a planned training also ``advice_lengths.csv``, a row for each length and ratio.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [advice["whole"], *advice["ratios"]]
    paths = {name: folder / f"advice.{name}" for name in ("md", "csv", "json", "png")}
    with write_whole(paths["md"]) as path:
        path.write_text("\n".join([*table_lines(advice), "", *words(advice)]) + "\n", encoding="utf-8")
    write_csv(paths["csv"], rows)
    if "budget" in advice:
        paths["lengths"] = folder / "advice_lengths.csv"
        write_csv(paths["lengths"], length_rows(advice["budget"]))
    with write_whole(paths["json"]) as path:
        path.write_text(json.dumps(advice, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    _plot(advice, paths["png"])
    return list(paths.values())


def _plot(advice: dict, path: Path) -> None:
    """Recall by ratio with error bars, above what the ratios cover."""
    budget = advice.get("budget")
    figure = new_figure(7, 10 if budget else 7)
    above, below = figure.subfigures(2, 1, height_ratios=[7, 3]) if budget else (figure, None)
    recall, cover = above.subplots(2, 1, sharex=True)
    rows, whole, told = advice["ratios"], advice["whole"], advice["recommendation"]
    ratios = [row["ratio"] for row in rows]
    draw_curve(recall, ratios, [row["mean_recall"] for row in rows], [row["recall_error"] for row in rows], "kept")
    recall.axhline(whole["mean_recall"], color="black", linestyle="--", label="whole set")
    if whole["recall_error"]:
        ends = [whole["mean_recall"] + sign * whole["recall_error"] for sign in (-1, 1)]
        recall.axhspan(*ends, color="black", alpha=0.1)
    recommended = (budget or told)["ratio"]
    if recommended is not None:
        recall.axvline(recommended, color="tab:green", label=f"recommended: {recommended:g}")
    recall.set_ylabel("mean recall (standard error)")
    recall.legend()
    for heading, name in _SHARES.items():
        values = [row[name] for row in rows]
        if None not in values:
            cover.plot(ratios, values, marker=".", label=heading)
    cover.plot(ratios, [row["clusters"] / whole["clusters"] for row in rows], marker=".", label="clusters")
    cover.set_xscale("log")
    tick_at(cover, ratios)
    cover.set_xlabel("keep ratio")
    cover.set_ylabel("share")
    cover.legend()
    if budget:
        draw_lengths(below.subplots(), budget)
    save_png(figure, path)
