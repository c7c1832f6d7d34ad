"""What refining did to the captions of a finished reduction."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lavis_tldr.exports.finished_ledger import FinishedLedger
from lavis_tldr.reduction.alignments import ALIGNMENTS
from lavis_tldr.reduction.caption_measures import measure_captions
from lavis_tldr.report.stage_rows import config_of
from lavis_tldr.runs.ledger import iter_ledger
from lavis_tldr.runs.reduced_sets import find_set


def caption_report(run: Path | str, name: str | None = None, *, num_examples: int = 10) -> dict:
    """The measures of one recipe's captions, as JSON can say them.

    Args:
        run: The run folder, or the recipe's folder in it.
        name: The recipe, where the run has several.
        num_examples: How many samples that lost rare words to name.

    Returns:
        ``recipe`` (its folder), ``captions_from`` (`run.recipe`), ``scored_by`` (the alignment, None where there is
        none), ``read`` and ``kept`` records, and what `measure_captions` returns.

    Raises:
        ValueError: If there is no such recipe, or it is not finished.
    """
    ledger = FinishedLedger(Path(run), name)
    folder = find_set(run, name)
    read = partial(iter_ledger, ledger.folder)
    return {
        "recipe": str(folder),
        "captions_from": config_of(folder / "refine").get("recipe"),
        "scored_by": alignment_of(folder),
        "read": ledger.num_read,
        "kept": ledger.num_kept,
        **measure_captions(read, threshold=threshold_of(folder), num_examples=num_examples),
    }


def alignment_of(recipe: Path) -> str | None:
    """By what the captions of a recipe were scored (``run.alignment``); None where they were not."""
    stages = [config_of(recipe / stage) for stage in ("refine", "select")]
    return next((config["alignment"] for config in stages if "alignment" in config), None)


def threshold_of(recipe: Path) -> float | None:
    """The alignment from which on a caption fits: what the recipe gates by, else the natural one, or None."""
    alignment = ALIGNMENTS.get(alignment_of(recipe) or "")
    natural = None if alignment is None else alignment.threshold
    return config_of(recipe / "refine").get("alignment_threshold", natural)
