"""What came of an ablation: a row for each arm, as Markdown, as CSV of the arms and of all seeds, and as a plot."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from lavis_tldr.ablation.plan import Result
from lavis_tldr.ablation.reductions import reduction_config
from lavis_tldr.ablation.settings import Ablation, Arm
from lavis_tldr.files import write_whole
from lavis_tldr.report.plots import bars, draw_curve, new_figure, save_png, tick_at
from lavis_tldr.report.spread import Spread, with_error
from lavis_tldr.report.tables import markdown_table, write_csv
from lavis_tldr.report.wording import count

_WAYS = {"tr": "TR", "ir": "IR"}
_REFERENCE, _ARM = "0.6", "tab:blue"


@dataclass(frozen=True)
class Row:
    """An arm's results.

    Attributes:
        arm: The arm.
        results: Of the seeds that are done, by seed.
        spreads: Of each metric over the seeds; empty where none is done.
        difference: Of the first reported metric's mean to the first reference's; None for that one, or where one of
            the two is missing.
        note: Why there is no result, or "".
    """

    arm: Arm
    results: dict[int, Result] = field(default_factory=dict)
    spreads: dict[str, Spread] = field(default_factory=dict)
    difference: float | None = None
    note: str = ""

    @property
    def pairs(self) -> int:
        """How many the reduced sets have, on average."""
        return round(Spread.of(result.pairs for result in self.results.values()).mean) if self.results else 0


def summarize(ablation: Ablation, results: Mapping[str, Mapping[int, Result]]) -> list[Row]:
    """A row for each arm in the ablation's order.

    Args:
        ablation: The ablation.
        results: By arm's name and seed: those that count, failures among them.
    """
    found: dict[str, Row] = {}
    shown = ablation.report[0]
    baseline = next((arm.name for arm in ablation.arms if arm.is_reference), None)
    for arm in ablation.arms:
        mine = results.get(arm.name, {})
        done = {seed: result for seed, result in sorted(mine.items()) if not result.error}
        failures = [result.error for result in mine.values() if result.error]
        spreads = _spreads(done)
        reference = found[baseline].spreads.get(shown) if baseline in found else None
        difference = spreads[shown].mean - reference.mean if shown in spreads and reference else None
        note = f"failed: {failures[0]}" if failures else ("" if done else "not run")
        note = arm.obstacle if arm.obstacle and not done else note
        found[arm.name] = Row(arm, done, spreads, difference, note)
    return list(found.values())


def _spreads(results: Mapping[int, Result]) -> dict[str, Spread]:
    names = next(iter(results.values())).metrics if results else ()
    return {name: Spread.of(result.metrics[name] for result in results.values()) for name in names}


def write_report(ablation: Ablation, rows: Sequence[Row], folder: Path) -> None:
    """Write ``<name>.md``, ``<name>.csv`` (a line an arm), ``<name>_seeds.csv`` (also a seed) and ``<name>.png``."""
    with write_whole(folder / f"{ablation.name}.md") as path:
        path.write_text("\n".join(markdown_lines(ablation, rows)) + "\n", encoding="utf-8")
    write_csv(folder / f"{ablation.name}.csv", arm_records(rows))
    write_csv(folder / f"{ablation.name}_seeds.csv", seed_records(rows))
    _draw(ablation, rows, folder / f"{ablation.name}.png")


def markdown_lines(ablation: Ablation, rows: Sequence[Row]) -> list[str]:
    """Title, table and how to read it."""
    reference = next((row.arm.name for row in rows if row.arm.is_reference), None)
    header = ["arm", "pairs", *map(label, ablation.report), *(["difference"] if reference else [])]
    noted = any(row.note for row in rows)
    lines = []
    for row in rows:
        cells = [row.arm.name, count(row.pairs) if row.pairs else ""]
        cells += [_shown(row.spreads.get(name)) for name in ablation.report]
        if reference:
            cells.append("" if row.difference is None else f"{row.difference:+.2f}")
        lines.append(cells + ([row.note] if noted else []))
    seeds = len(ablation.seeds)
    told = f"Mean ± standard deviation over {seeds} seeds" if seeds > 1 else "One seed"
    told += f"; difference in {label(ablation.report[0])} to {reference}." if reference else "."
    table = markdown_table(header + (["note"] if noted else []), lines)
    return [f"**{ablation.title}**", "", *table, "", told]


def arm_records(rows: Sequence[Row]) -> list[dict]:
    """All metrics of each arm."""
    names = list(dict.fromkeys(name for row in rows for name in row.spreads))
    records = []
    for row in rows:
        record = {"arm": row.arm.name, "pairs": row.pairs or "", "seeds": len(row.results)}
        for name in names:
            spread = row.spreads.get(name)
            record[name] = _rounded(spread and spread.mean)
            record[f"{name}_deviation"] = _rounded(spread and spread.deviation)
        records.append({**record, "difference": _rounded(row.difference), "note": row.note})
    return records


def seed_records(rows: Sequence[Row]) -> list[dict]:
    """All metrics of each arm and seed."""
    names = list(dict.fromkeys(name for row in rows for name in row.spreads))
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


def _shown(spread: Spread | None) -> str:
    return with_error(f"{spread.mean:.2f}", spread.deviation) if spread else ""


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)


def _draw(ablation: Ablation, rows: Sequence[Row], path: Path) -> None:
    """The first reported metric with deviations, of the arms that have a result: bars, or curves over a setting."""
    rows = [row for row in rows if row.results]
    figure = new_figure(7, 4 if ablation.plot.x else max(2.0, 1.0 + 0.35 * len(rows)))
    axes = figure.add_subplot()
    axes.set_title(ablation.title, fontsize="medium")
    if ablation.plot.x:
        _draw_curves(axes, ablation, rows)
    else:
        _draw_bars(axes, ablation, rows)
    save_png(figure, path)


def _draw_bars(axes, ablation: Ablation, rows: Sequence[Row]) -> None:
    spreads = [row.spreads[ablation.report[0]] for row in rows]
    axes.barh(
        range(len(rows)),
        [spread.mean for spread in spreads],
        xerr=bars([spread.deviation for spread in spreads]),
        color=[_REFERENCE if row.arm.is_reference else _ARM for row in rows],
        capsize=3,
    )
    axes.set_yticks(range(len(rows)), [row.arm.name for row in rows])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel(label(ablation.report[0]))


def _draw_curves(axes, ablation: Ablation, rows: Sequence[Row]) -> None:
    """A curve for each series: arms whose names begin alike, up to the first ", "."""
    metric = ablation.report[0]
    for row in rows:
        if row.arm.is_reference:
            axes.axhline(row.spreads[metric].mean, color=_REFERENCE, linestyle="--", label=row.arm.name)
    series = _series(ablation, rows)
    for name, points in series.items():
        xs, of_series = zip(*points, strict=True)
        spreads = [row.spreads[metric] for row in of_series]
        draw_curve(axes, xs, [s.mean for s in spreads], [s.deviation for s in spreads], name or None)
    if ablation.plot.log:
        axes.set_xscale("log")
    tick_at(axes, sorted({x for points in series.values() for x, _ in points}))
    axes.set_xlabel(ablation.plot.label or ablation.plot.x)
    axes.set_ylabel(label(metric))
    if axes.get_legend_handles_labels()[1]:
        axes.legend()


def _series(ablation: Ablation, rows: Sequence[Row]) -> dict[str, list[tuple[float, Row]]]:
    """Values of the setting and rows by series, in order of the setting."""
    found: dict[str, list[tuple[float, Row]]] = {}
    for row in rows:
        if not row.arm.is_reference:
            config = reduction_config(ablation, row.arm, ablation.seeds[0])
            name, comma, _ = row.arm.name.partition(", ")
            value = float(OmegaConf.select(config, ablation.plot.x))
            found.setdefault(name if comma else "", []).append((value, row))
    return {name: sorted(points, key=lambda point: point[0]) for name, points in found.items()}
