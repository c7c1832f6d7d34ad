"""What is true of a drawn set, and of what a reduction made of it, by the truth kept beside the set."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from lavis_tldr.scenes.sets import Truth
from lavis_tldr.scenes.vocabulary import BACKGROUNDS, PLURALS, SHAPES


@dataclass(frozen=True)
class Figures:
    """Quality of some pairs of a drawn set.

    Args:
        pairs: How many.
        aligned: Share whose original caption is about its image.
        named_right: Of the things and places that the captions name, the share that is in the picture; NaN if they
            name none.
        near_duplicates: Share that repeats the scene of another of these pairs.
        unusable: Share with a broken image or without a caption.
    """

    pairs: int
    aligned: float
    named_right: float
    near_duplicates: float
    unusable: float


def load_truth(path: str | Path) -> dict[str, Truth]:
    """The ``truth.json`` that ``draw_scenes`` writes beside a set.

    Raises:
        ValueError: If there is no such file, or it is something else.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no truth {path}; `lavis-tldr draw-scenes OUT` writes OUT/truth.json.")
    names = {field.name for field in fields(Truth)}
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {key: Truth(**{name: facts[name] for name in names}) for key, facts in table.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no truth of a drawn set ({error!r}); draw the set again.") from error


def measure(captions: Mapping[str, str], truth: Mapping[str, Truth]) -> Figures:
    """Figures of some pairs.

    Args:
        captions: The pairs by key, with the captions that they have now.
        truth: Of the set that they are from.

    Raises:
        ValueError: If there are no pairs, or one is not in the truth.
    """
    strange = next((key for key in captions if key not in truth), None)
    if strange is not None:
        raise ValueError(f"the pair {strange!r} is not in the truth; ledger and truth must be of the same drawn set.")
    if not captions:
        raise ValueError("there are no pairs to measure.")
    facts = [truth[key] for key in captions]
    scenes = {fact.duplicate_of or key for key, fact in zip(captions, facts, strict=True)}
    right = named = 0
    for key, caption in captions.items():
        said, there = named_in(caption), {*truth[key].shapes, truth[key].background}
        right, named = right + len(said & there), named + len(said)
    count = len(captions)
    return Figures(
        pairs=count,
        aligned=sum(fact.aligned for fact in facts) / count,
        named_right=right / named if named else math.nan,
        near_duplicates=(count - len(scenes)) / count,
        unusable=sum(fact.broken or fact.empty for fact in facts) / count,
    )


def named_in(caption: str) -> set[str]:
    """The shapes and backgrounds that a caption names, by their keys in the vocabulary."""
    found, text = set(), " ".join(re.findall(r"[a-z'-]+|[^a-z'\s-]+", caption.lower()))
    # Longest names first, each taken out of the text: "ice cream cone" before "ice cream", "pine tree" before "tree".
    for name, what in _NAMES:
        text, count = re.subn(rf"(?<![a-z'-]){re.escape(name)}(?![a-z'-])", "|", text)
        if count:
            found.add(what)
    return found


def alignment_auc(scores: Sequence[float], aligned: Sequence[bool]) -> float:
    """Probability that an aligned pair is scored above a misaligned one; ties count half. NaN if one kind is absent."""
    ranked = sorted(zip(scores, aligned, strict=True), key=lambda pair: pair[0])
    num_right = sum(aligned)
    num_wrong = len(ranked) - num_right
    if not num_right or not num_wrong:
        return math.nan
    wins, wrong_below, start = 0.0, 0, 0
    while start < len(ranked):
        end = start
        while end < len(ranked) and ranked[end][0] == ranked[start][0]:
            end += 1
        right = sum(label for _, label in ranked[start:end])
        wrong = end - start - right
        wins += right * (wrong_below + wrong / 2)
        wrong_below, start = wrong_below + wrong, end
    return wins / (num_right * num_wrong)


def figures_table(columns: Mapping[str, Figures]) -> list[str]:
    """Figures side by side, a line each."""
    rows = [
        ("pairs", lambda f: f"{f.pairs}"),
        ("original caption is about its image", lambda f: f"{f.aligned:.1%}"),
        ("named things and places that are there", lambda f: f"{f.named_right:.1%}"),
        ("repeat another pair's scene", lambda f: f"{f.near_duplicates:.1%}"),
        ("broken image or empty caption", lambda f: f"{f.unusable:.1%}"),
    ]
    widths = [max(len(name), 8) for name in columns]
    lines = [" " * 40 + "  ".join(name.rjust(width) for name, width in zip(columns, widths, strict=True))]
    for label, shown in rows:
        cells = (shown(figures).rjust(width) for figures, width in zip(columns.values(), widths, strict=True))
        lines.append(label.ljust(40) + "  ".join(cells))
    return lines


def report(ledgers: Mapping[str, Iterable[Mapping]], truth: Mapping[str, Truth], num_examples: int = 0) -> list[str]:
    """The source beside the reduced sets made from it, how well alignment was told, and captions to look at.

    Args:
        ledgers: Name of a reduced set -> its ledger's rows.
        truth: Of the drawn set.
        num_examples: Kept pairs of the first set whose captions are listed.
    """
    ledgers = {name: list(rows) for name, rows in ledgers.items()}
    columns: dict[str, Figures] = {}
    aucs: dict[str, float] = {}
    for name, rows in ledgers.items():
        columns.setdefault("source", measure({row["key"]: row["caption_original"] for row in rows}, truth))
        kept = [row for row in rows if row["kept"]]
        columns[name] = measure({row["key"]: row["caption"] for row in kept}, truth)
        scored = [row for row in rows if not math.isnan(row["alignment"])]
        if scored:
            aligned = [truth[row["key"]].aligned for row in scored]
            aucs[name] = alignment_auc([row["alignment"] for row in scored], aligned)
    lines = figures_table(columns)
    lines += [
        f"{name}: the alignment score tells right pairs from wrong with AUC {auc:.3f}" for name, auc in aucs.items()
    ]
    kept = [row for rows in list(ledgers.values())[:1] for row in rows if row["kept"]]
    for i in range(min(num_examples, len(kept))):
        row = kept[i * len(kept) // num_examples]  # spread over the set
        lines.append(f"  true      {truth[row['key']].true_caption}")
        lines.append(f"  generated {row['caption_generated']}")
    return lines


def _names() -> list[tuple[str, str]]:
    names = {}
    for what, (forms, _) in (*SHAPES.items(), *BACKGROUNDS.items()):
        for form in forms:
            names[form] = what
            if what in SHAPES:
                names[PLURALS.get(form, form + "s")] = what
    return sorted(names.items(), key=lambda item: (-len(item[0]), item[0]))


_NAMES = _names()
