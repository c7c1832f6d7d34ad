"""Plots of measurements as PNG files, drawn without a display (matplotlib's Agg)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lavis_tldr.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, of a size in inches.

    Raises:
        ValueError: If matplotlib is not installed.
    """
    # Matplotlib takes half a second to import, which only who draws should wait for.
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ValueError("a plot is drawn by matplotlib, which is not installed: pip install matplotlib.") from error

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_curve(
    axes: Axes, xs: Sequence[float], means: Sequence[float], errors: Sequence[float | None], label: str | None = None
) -> None:
    """A curve through means with error bars; where an error is None there is none."""
    axes.errorbar(xs, means, yerr=bars(errors), marker="o", capsize=3, label=label)


def bars(errors: Sequence[float | None]) -> list[float]:
    """Lengths of error bars: 0 where the error is not known."""
    return [error or 0.0 for error in errors]


def tick_at(axes: Axes, values: Sequence[float]) -> None:
    """Marks these values of the horizontal axis and no others."""
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xticks([], minor=True)


def save_png(figure: Figure, path: Path) -> None:
    """Write a PNG whole or not at all; without matplotlib's version, so that a plot drawn again is the same file."""
    with write_whole(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})
