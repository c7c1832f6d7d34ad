"""Plots of ablations: a bar for each arm, or a curve over a setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from lavis_tldr.ablation.configs import reduction_config
from lavis_tldr.ablation.settings import Ablation
from lavis_tldr.ablation.summary import Row

_REFERENCE, _ARM = "0.6", "tab:blue"


def draw(ablation: Ablation, rows: Sequence[Row], label: str, path: Path) -> None:
    """Draw the first reported metric, with deviations, as a PNG.

    Args:
        ablation: Says what the horizontal axis is.
        rows: Of all arms; those without a result are left out.
        label: Of the metric.
        path: Of the PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in rows if row.results]
    height = 4 if ablation.plot.x else max(2.0, 1.0 + 0.35 * len(rows))
    figure = Figure(figsize=(7, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(ablation.title, fontsize="medium")
    if ablation.plot.x:
        _draw_curves(axes, ablation, rows, label)
    else:
        _draw_bars(axes, rows, ablation.report[0], label)
    figure.savefig(path, dpi=120, metadata={"Software": None})  # the same bytes by every version


def _draw_bars(axes, rows: Sequence[Row], metric: str, label: str) -> None:
    places = range(len(rows))
    means = [row.means[metric] for row in rows]
    colours = [_REFERENCE if row.arm.is_reference else _ARM for row in rows]
    axes.barh(places, means, xerr=[row.deviations.get(metric, 0.0) for row in rows], color=colours, capsize=3)
    axes.set_yticks(places, [row.arm.name for row in rows])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel(label)


def _draw_curves(axes, ablation: Ablation, rows: Sequence[Row], label: str) -> None:
    """A curve for each series: arms whose names begin alike, up to the first ", "."""
    metric = ablation.report[0]
    for row in rows:
        if row.arm.is_reference:
            axes.axhline(row.means[metric], color=_REFERENCE, linestyle="--", label=row.arm.name)
    series = _series(ablation, rows)
    for name, points in series.items():
        xs, of_series = zip(*points, strict=True)
        deviations = [row.deviations.get(metric, 0.0) for row in of_series]
        means = [row.means[metric] for row in of_series]
        axes.errorbar(xs, means, yerr=deviations, marker="o", capsize=3, label=name or None)
    if ablation.plot.log:
        axes.set_xscale("log")
    values = sorted({x for points in series.values() for x, _ in points})
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
    axes.set_xlabel(ablation.plot.label or ablation.plot.x)
    axes.set_ylabel(label)
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
