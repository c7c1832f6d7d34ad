"""What refining did to the captions of a finished reduction: the measures, and the same as text for a terminal."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lavis_tldr.exports.finished_ledger import FinishedLedger
from lavis_tldr.reduction.alignments import ALIGNMENTS, natural_threshold
from lavis_tldr.reduction.caption_measures import measure_captions
from lavis_tldr.report.lookup import config_of
from lavis_tldr.report.wording import count, entry, number, printable, quoted, share, table
from lavis_tldr.runs.ledger import iter_ledger
from lavis_tldr.runs.reduced_sets import find_set

_ROWS = (
    ("captions", "captions", count),
    ("words", "words each", number),
    ("vocabulary", "different words", count),
    ("distinct_captions", "distinct captions", share),
    ("distinct_1", "distinct-1", share),
    ("distinct_2", "distinct-2", share),
    ("entropy", "entropy, bits", number),
    ("similarity", "similarity", number),
)
_KINDS = ("original", "generated", "refined")


def caption_report(run: Path | str, name: str | None = None, *, num_examples: int = 10) -> dict:
    """The measures of one reduced set's captions, as JSON can say them.

    Args:
        run: The run folder, or the reduced set's folder in it.
        name: The set, where the run has several.
        num_examples: How many samples that lost rare words to name.

    Returns:
        ``set`` (its folder), ``captions_from`` (`run.recipe`), ``scored_by`` (the alignment, None where there is
        none), ``read`` and ``kept`` records, and what `measure_captions` returns.

    Raises:
        ValueError: If there is no such set, or it is not finished.
    """
    ledger = FinishedLedger(Path(run), name)
    folder = find_set(run, name)
    read = partial(iter_ledger, ledger.folder)
    return {
        "set": str(folder),
        "captions_from": config_of(folder / "refine").get("recipe"),
        "scored_by": alignment_of(folder),
        "read": ledger.num_read,
        "kept": ledger.num_kept,
        **measure_captions(read, threshold=threshold_of(folder), num_examples=num_examples),
    }


def alignment_of(folder: Path) -> str | None:
    """By what the captions of a reduced set were scored (``run.alignment``); None where they were not."""
    stages = [config_of(folder / stage) for stage in ("refine", "select")]
    return next((config["alignment"] for config in stages if "alignment" in config), None)


def threshold_of(folder: Path) -> float | None:
    """The alignment from which on a caption fits: what the set's recipe gates by, else the natural one, or None."""
    alignment, mixture = alignment_of(folder), config_of(folder / "select").get("mixture")
    natural = natural_threshold(alignment, mixture) if alignment in ALIGNMENTS else None
    return config_of(folder / "refine").get("alignment_threshold", natural)


def caption_lines(facts: dict) -> list[str]:
    """What `caption_report` found, in lines."""
    lines = entry("set", facts["set"], 0)
    lines += entry("captions", facts["captions_from"] or "unknown", 0)
    lines += entry("kept", f"{count(facts['kept'])} of {count(facts['read'])} records", 0)
    lines += ["", *table(["", *_KINDS], [_row(facts["captions"], *row) for row in _ROWS]), ""]
    return lines + _rare_words(facts["rare_words"]) + ["", *_alignment(facts)]


def _row(captions: dict, name: str, what: str, tell) -> list[str]:
    return [what, *(_or_none(captions[kind][name], tell) for kind in _KINDS)]


def _rare_words(rare: dict) -> list[str]:
    lines = entry("rare words", f"{_survivors(rare)}; rare: in {count(rare['most'])} original captions at most", 0)
    if rare["well_aligned"]:
        lines += entry("", f"{_survivors(rare['well_aligned'])} in originals that fit their image", 0)
    for example in rare["lost"]:
        lost = f"{', '.join(map(printable, example['words']))} ({printable(example['key'])})"
        lines += entry("lost", f"{lost}: {quoted(example['original'])} -> {quoted(example['refined'])}")
    return lines


def _survivors(rare: dict) -> str:
    survive = f" ({share(rare['share'])})" if rare["share"] is not None else ""
    return f"{count(rare['refined'])} of {count(rare['original'])} survive{survive}"


def _alignment(facts: dict) -> list[str]:
    found, threshold = facts["alignment"], facts["alignment"]["threshold"]
    if found["source"] is None:
        return entry("alignment", "not scored (run.score_refined: True scores captions before and after)", 0)
    fitting = "" if threshold is None else f"from {number(threshold)} on"
    rows = [
        [what, count(figures["scored"]), number(figures["mean"]), _or_none(figures["fitting"], share)]
        for what, figures in (
            ("all originals", found["source"]),
            *((f"kept, {kind}", found[kind]) for kind in _KINDS),
        )
        if figures
    ]
    return entry("alignment", facts["scored_by"] or "", 0) + table(["", "scored", "mean", fitting], rows)


def _or_none(value, tell) -> str:
    return "-" if value is None else tell(value)
