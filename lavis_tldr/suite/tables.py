"""Tables of results, laid out like the paper's, its own numbers beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from lavis_tldr.files import open_whole
from lavis_tldr.report.spread import Spread, with_error
from lavis_tldr.report.tables import markdown_table, write_csv
from lavis_tldr.suite.evaluations import EVALUATIONS, Figure
from lavis_tldr.suite.latex import latex_table
from lavis_tldr.suite.results import Result
from lavis_tldr.suite.rows import Column, Row, baseline_of, build_rows, check_baseline, figures_of, unlike_settings

PAPER = Path(__file__).parent.parent / "configs" / "paper_results.yaml"
CAPTIONS = {
    "3": "Image-text retrieval",
    "4": "Question answering, visual reasoning, grounding and captioning",
    "5": "Text-to-video retrieval on MSRVTT-1K",
    "6": "Zero-shot image classification",
    "8": "Pretraining sets",
}
_OF_BLIP_ALONE = ("8",)  # it repeats columns of the others
OTHER = "other"
_ABSENT = "-"


@dataclass(frozen=True)
class PaperRow:
    """A row of a table of the paper."""

    family: str
    label: str
    samples: str | None
    protocol: str
    figures: dict[Column, float]


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        number: Of the paper's that it is laid out like, or `OTHER`.
        columns: What is shown.
        rows: Ours.
        paper: The paper's, of the same families.
    """

    number: str
    columns: dict[Column, Figure]
    rows: list[Row]
    paper: list[PaperRow]

    @property
    def title(self) -> str:
        return f"{CAPTIONS[self.number]} (the paper's Table {self.number})" if self.number in CAPTIONS else "Other sets"


def read_paper(path: Path = PAPER) -> dict[str, tuple[list[Column], list[PaperRow]]]:
    """Columns and rows of the paper's tables, by number."""
    found = {}
    for number, told in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        columns = [Column(*name.split()) for name in told["columns"]]
        rows = [
            PaperRow(*about, {c: value for c, value in zip(columns, values, strict=True) if value is not None})
            for *about, values in ((*row[:4], row[4:]) for row in told["rows"])
        ]
        found[number] = (columns, rows)
    return found


def build_tables(rows: Sequence[Row]) -> list[Table]:
    """Those of the paper's tables that the rows have something for, and one of what stands in none of them."""
    reported = figures_of(rows)
    tables = []
    for number, (columns, paper) in read_paper().items():
        mine = [row for row in rows if number not in _OF_BLIP_ALONE or row.family == "BLIP"]
        shown = {c: reported.get(c) or _figure(c) for c in columns}
        shown |= {c: figure for c, figure in reported.items() if _home(c) == number and c not in shown}
        mine = [row for row in mine if shown.keys() & row.figures.keys()]
        families = {row.family for row in mine}
        if mine:
            tables.append(Table(number, shown, mine, [row for row in paper if row.family in families]))
    others = {c: figure for c, figure in reported.items() if _home(c) is None}
    if others:
        tables.append(Table(OTHER, others, [row for row in rows if others.keys() & row.figures.keys()], []))
    return tables


def _home(column: Column) -> str | None:
    """The paper's table that an evaluation stands in first; None if it is in none."""
    evaluation = EVALUATIONS.get(column.evaluation)
    return evaluation.tables[0] if evaluation and evaluation.tables else None


def _figure(column: Column) -> Figure:
    evaluation = EVALUATIONS[column.evaluation]
    return next(figure for figure in evaluation.figures if figure.name == column.figure)


def write_tables(results: Sequence[Result], folder: Path, baseline: str | None = None) -> list[Path]:
    """Write ``evaluations.md``, ``.csv`` (a line a figure) and ``.tex``.

    Args:
        results: Of any number of checkpoints.
        folder: To write to.
        baseline: Label of the rows that the others are compared with, family by family.

    Raises:
        ValueError: If two results are of the same thing, or no row has the baseline's label.
    """
    rows = build_rows(results)
    check_baseline(rows, baseline)
    tables = build_tables(rows)
    paths = [folder / f"evaluations.{suffix}" for suffix in ("md", "csv", "tex")]
    folder.mkdir(parents=True, exist_ok=True)
    with open_whole(paths[0]) as file:
        file.write(("\n".join(markdown_lines(tables, rows, baseline)) + "\n").encode())
    write_csv(paths[1], list(records(tables, rows, baseline)))
    with open_whole(paths[2]) as file:
        parts = [latex_table(table.title, *_cells(table, rows, baseline)) for table in tables]
        file.write(("\n".join(parts) + "\n").encode())
    return paths


def markdown_lines(tables: Sequence[Table], rows: Sequence[Row], baseline: str | None = None) -> Iterator[str]:
    """The tables, and under them what the rows are and how to read them."""
    for table in tables:
        groups, heads, body = _cells(table, rows, baseline)
        header = [" ".join(filter(None, parts)) for parts in zip(groups, heads, strict=True)]
        yield from (f"**{table.title}**", "", *markdown_table(header, body), "")
    header = ["model", "trained on", "protocol", "pairs", "pairs seen", "device hours", "seeds", "started from"]
    yield from ("**The rows**", "", *markdown_table(header, map(_about, rows)), "")
    told = "Mean ± standard deviation over seeds where there are several."
    told += f" In brackets: difference to {baseline} of the same model and protocol." if baseline else ""
    yield f"{told} The paper's numbers are of other models, started and trained otherwise."
    yield from (line for note in unlike_settings(rows) for line in ("", f"Note: {note}"))


def _about(row: Row) -> list[str]:
    account = row.account
    seen, pairs, hours = (account.get(name) for name in ("samples_seen", "num_pairs", "device_hours"))
    counts = [_ABSENT if value is None else f"{value:,.0f}" for value in (pairs, seen)]
    spent = _ABSENT if hours is None else f"{hours:.2f}"
    return [row.family, row.label, row.protocol, *counts, spent, str(row.num_seeds), row.initialisation]


def _cells(table: Table, rows: Sequence[Row], baseline: str | None) -> tuple[list[str], list[str], list[list[str]]]:
    """Group and head of each column, and the body."""
    groups, heads = ["", "", "", ""], ["model", "trained on", "pairs", "protocol"]
    for column, figure in table.columns.items():
        groups.append(_group(column, rows))
        heads.append(figure.title + (" ↓" if not figure.higher_is_better else ""))
    body = [_row_cells(row, table, rows, baseline) for row in table.rows]
    for paper in table.paper:
        numbers = [f"{paper.figures[c]:.1f}" if c in paper.figures else _ABSENT for c in table.columns]
        body.append([paper.family, f"paper: {paper.label}", paper.samples or _ABSENT, paper.protocol, *numbers])
    return groups, heads, body


def _group(column: Column, rows: Sequence[Row]) -> str:
    evaluation = EVALUATIONS.get(column.evaluation)
    titles = (result.title for row in rows for result in row.results if result.evaluation == column.evaluation)
    title = evaluation.title if evaluation else next(titles)
    return title if column.split == "test" else f"{title} {column.split}"


def _row_cells(row: Row, table: Table, rows: Sequence[Row], baseline: str | None) -> list[str]:
    other = baseline_of(row, rows, baseline)
    pairs = row.account.get("num_pairs")
    cells = [row.family, row.label, _ABSENT if pairs is None else f"{pairs:,.0f}", row.protocol]
    for column in table.columns:
        spread = row.figures.get(column)
        difference = _difference(spread, other and other.figures.get(column))
        shown = _ABSENT if spread is None else with_error(f"{spread.mean:.1f}", spread.deviation, ".1f")
        cells.append(shown if difference is None else f"{shown} ({difference:+.1f})")
    return cells


def _difference(spread: Spread | None, other: Spread | None) -> float | None:
    return spread.mean - other.mean if spread and other else None


def records(tables: Sequence[Table], rows: Sequence[Row], baseline: str | None = None) -> Iterator[dict]:
    """A record for each figure of each table, the paper's among them, all with the same keys."""
    for table in tables:
        for row in table.rows:
            other = baseline_of(row, rows, baseline)
            for column in (c for c in table.columns if c in row.figures):
                spread = row.figures[column]
                yield {
                    **_record(table, row, column),
                    "mean": round(spread.mean, 4),
                    "deviation": _rounded(spread.deviation),
                    "seeds": spread.count,
                    "difference": _rounded(_difference(spread, other and other.figures.get(column))),
                    **{name: row.account.get(name, "") for name in ("num_pairs", "samples_seen", "device_hours")},
                    "started_from": row.initialisation,
                }
        for paper in table.paper:
            for column, value in paper.figures.items():
                yield {
                    **_record(table, paper, column),
                    **{"mean": value, "deviation": "", "seeds": "", "difference": "", "num_pairs": paper.samples or ""},
                    **{"samples_seen": "", "device_hours": "", "started_from": ""},
                }


def _record(table: Table, row: Row | PaperRow, column: Column) -> dict:
    figure = table.columns[column]
    source = "paper" if isinstance(row, PaperRow) else "ours"
    about = {"table": table.number, "source": source, "model": row.family, "trained_on": row.label}
    return {**about, "protocol": row.protocol, **column._asdict(), "unit": figure.unit}


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)
