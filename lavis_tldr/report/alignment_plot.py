"""The alignment of captions before and after refining, as histograms (the paper's Figure 7)."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np

from lavis_tldr.exports.finished_ledger import FinishedLedger
from lavis_tldr.reduction.caption_measures import LedgerReader
from lavis_tldr.report.captions import alignment_of
from lavis_tldr.report.plots import new_figure
from lavis_tldr.runs.ledger import iter_ledger
from lavis_tldr.runs.reduced_sets import find_set

# What is drawn: the ledger's column, and whether of kept samples alone.
CURVES = {
    "all original captions": ("alignment", False),
    "original captions of kept pairs": ("alignment", True),
    "refined captions of kept pairs": ("alignment_refined", True),
}
_ADVICE = (
    "set run.score_refined: True and run `lavis-tldr reduce` under another run.name, which uses again what is encoded "
    "and clustered."
)


def alignment_histograms(read: LedgerReader, num_bins: int = 60) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Histograms of `CURVES` over the same bins, a part of the ledger at a time.

    Args:
        read: ``read(columns)`` gives the ledger's parts (``partial(iter_ledger, path)``).
        num_bins: Number of bins, of equal widths between the lowest and the highest score.

    Returns:
        Edges of the bins, (num_bins + 1,), and for each of `CURVES` the number of captions in each, (num_bins,).

    Raises:
        ValueError: If no caption has a score.
    """
    low, high = math.inf, -math.inf
    for scores in _scores(read):
        for values in scores.values():
            low, high = min(low, values.min(initial=math.inf)), max(high, values.max(initial=-math.inf))
    if low > high:
        raise ValueError(f"no caption has a score: {_ADVICE}")
    edges = np.histogram_bin_edges([], num_bins, (low, high))
    counts = {name: np.zeros(num_bins, np.int64) for name in CURVES}
    for scores in _scores(read):
        for name, values in scores.items():
            counts[name] += np.histogram(values, edges)[0]
    return edges, counts


def _scores(read: LedgerReader):
    for table in read(["alignment", "alignment_refined", "kept"]):
        kept = table["kept"].to_numpy()
        found = {}
        for name, (column, only_kept) in CURVES.items():
            values = table[column].to_numpy().astype(np.float64)
            found[name] = values[np.isfinite(values) & (kept | (not only_kept))]
        yield found


def plot_alignments(run: Path | str, path: Path | str, name: str | None = None, threshold: float | None = None) -> None:
    """Draw the histograms of a finished reduction.

    Args:
        run: The run folder, or the reduced set's folder in it.
        path: File to write; its ending says the format (.png, .pdf, .svg).
        name: The set, where the run has several.
        threshold: Alignment from which on a caption fits; drawn as a line unless None.

    Raises:
        ValueError: If matplotlib is missing, if the reduction is not finished, if its refined captions have no scores,
            or if the format is unknown.
    """
    figure = new_figure(7, 4)  # before the ledger is read: it may say that nothing can be drawn here
    ledger, folder = FinishedLedger(Path(run), name), find_set(run, name)
    edges, counts = alignment_histograms(partial(iter_ledger, ledger.folder))
    if not counts["refined captions of kept pairs"].any():
        raise ValueError(f"{folder} has no alignment of its refined captions: {_ADVICE}")
    axes = figure.add_subplot(
        xlabel=f"alignment of caption and image ({alignment_of(folder) or 'unknown'})", ylabel="share of the captions"
    )
    for curve, found in counts.items():
        axes.stairs(found / max(1, found.sum()), edges, label=f"{curve} ({found.sum():,})")
    if threshold is not None:
        axes.axvline(threshold, color="grey", linestyle=":", label=f"threshold {threshold:g}")
    axes.legend()
    formats = figure.canvas.get_supported_filetypes()
    if Path(path).suffix.lower().lstrip(".") not in formats:
        raise ValueError(f"{path} should end in one of: {', '.join('.' + ending for ending in sorted(formats))}.")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
