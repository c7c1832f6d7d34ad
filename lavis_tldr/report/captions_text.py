"""The measures of captions (`caption_report`) as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from lavis_tldr.report.texts import entry, printable, quoted
from lavis_tldr.report.units import count, number, share

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


def caption_lines(facts: dict) -> list[str]:
    """Lines for ``facts``."""
    lines = entry("recipe", facts["recipe"], 0)
    lines += entry("captions", facts["captions_from"] or "unknown", 0)
    lines += entry("kept", f"{count(facts['kept'])} of {count(facts['read'])} records", 0)
    lines += ["", *_table(["", *_KINDS], [_row(facts["captions"], *row) for row in _ROWS]), ""]
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
    return entry("alignment", facts["scored_by"] or "", 0) + _table(["", "scored", "mean", fitting], rows)


def _or_none(value, tell) -> str:
    return "-" if value is None else tell(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    return [
        (
            "  "
            + "  ".join(
                f"{cell:<{w}}" if i == 0 else f"{cell:>{w}}"
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
        ).rstrip()
        for row in (header, *rows)
    ]
