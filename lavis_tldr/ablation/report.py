"""An ablation's results as files: Markdown, CSV of the arms and of all seeds, and a plot."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from lavis_tldr.ablation.plots import draw
from lavis_tldr.ablation.settings import Ablation
from lavis_tldr.ablation.summary import Row
from lavis_tldr.files import write_whole
from lavis_tldr.report.wording import count

_WAYS = {"tr": "TR", "ir": "IR"}


def write_report(ablation: Ablation, rows: Sequence[Row], folder: Path) -> None:
    """Write ``<name>.md``, ``<name>.csv`` (a line an arm), ``<name>_seeds.csv`` (also a seed) and ``<name>.png``."""
    with write_whole(folder / f"{ablation.name}.md") as path:
        path.write_text("\n".join(markdown_lines(ablation, rows)) + "\n", encoding="utf-8")
    _write_csv(folder / f"{ablation.name}.csv", arm_records(rows))
    _write_csv(folder / f"{ablation.name}_seeds.csv", seed_records(rows))
    with write_whole(folder / f"{ablation.name}.png") as path:
        draw(ablation, rows, label(ablation.report[0]), path)


def markdown_lines(ablation: Ablation, rows: Sequence[Row]) -> list[str]:
    """Title, table and how to read it."""
    reference = next((row.arm.name for row in rows if row.arm.is_reference), None)
    header = ["arm", "pairs", *map(label, ablation.report), *(["difference"] if reference else [])]
    noted = any(row.note for row in rows)
    lines = [
        f"**{ablation.title}**",
        "",
        _line(header + (["note"] if noted else [])),
        _line(["---"] * (len(header) + noted)),
    ]
    for row in rows:
        cells = [row.arm.name, count(row.pairs) if row.pairs else ""]
        cells += [_spread(row, name) for name in ablation.report]
        if reference:
            cells.append("" if row.difference is None else f"{row.difference:+.2f}")
        lines.append(_line(cells + ([row.note] if noted else [])))
    seeds = len(ablation.seeds)
    told = f"Mean ± standard deviation over {seeds} seeds" if seeds > 1 else "One seed"
    told += f"; difference in {label(ablation.report[0])} to {reference}." if reference else "."
    return [*lines, "", told]


def arm_records(rows: Sequence[Row]) -> list[dict]:
    """All metrics of each arm."""
    names = list(dict.fromkeys(name for row in rows for name in row.means))
    records = []
    for row in rows:
        record = {"arm": row.arm.name, "pairs": row.pairs or "", "seeds": len(row.results)}
        for name in names:
            record[name] = _rounded(row.means.get(name))
            record[f"{name}_deviation"] = _rounded(row.deviations.get(name))
        records.append({**record, "difference": _rounded(row.difference), "note": row.note})
    return records


def seed_records(rows: Sequence[Row]) -> list[dict]:
    """All metrics of each arm and seed."""
    names = list(dict.fromkeys(name for row in rows for name in row.means))
    return [
        {"arm": row.arm.name, "seed": seed, "pairs": result.pairs}
        | {name: _rounded(result.metrics.get(name)) for name in names}
        for row in rows
        for seed, result in row.results.items()
    ]


def label(metric: str) -> str:
    """``tr_r1`` as ``TR@1``, as the paper writes it; others with spaces."""
    recall = re.fullmatch(r"(tr|ir)_r(\d+)", metric)
    return f"{_WAYS[recall[1]]}@{recall[2]}" if recall else metric.replace("_", " ")


def _spread(row: Row, metric: str) -> str:
    if metric not in row.means:
        return ""
    deviation = f" ± {row.deviations[metric]:.2f}" if metric in row.deviations else ""
    return f"{row.means[metric]:.2f}{deviation}"


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in cells) + " |"


def _write_csv(path: Path, records: Sequence[dict]) -> None:
    with write_whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]) if records else [])
        writer.writeheader()
        writer.writerows(records)
