import sys

import numpy as np
import pyarrow as pa
import pytest

from lavis_tldr.report.alignment_plot import alignment_histograms, plot_alignments

NAN = float("nan")
# alignment, alignment_refined, kept
ROWS = [
    (0.0, NAN, False),
    (1.0, 2.0, True),
    (1.0, NAN, True),  # nothing to score
    (3.0, 4.0, True),
    (NAN, NAN, False),  # failed
]


def reader(*parts):
    def read(columns):
        for rows in parts:
            table = {
                name: [row[i] for row in rows] for i, name in enumerate(("alignment", "alignment_refined", "kept"))
            }
            schema = pa.schema([("alignment", pa.float32()), ("alignment_refined", pa.float32()), ("kept", pa.bool_())])
            yield pa.table(table, schema=schema).select(columns)

    return read


@pytest.mark.parametrize("parts", [[ROWS], [ROWS[3:], [], ROWS[:3]]])
def test_histograms_by_hand(parts):
    edges, counts = alignment_histograms(reader(*parts), num_bins=4)
    assert edges.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    # The last bin has both its ends.
    assert {name: found.tolist() for name, found in counts.items()} == {
        "all original captions": [1, 2, 0, 1],
        "original captions of kept pairs": [0, 2, 0, 1],
        "refined captions of kept pairs": [0, 0, 1, 1],
    }


def test_one_score_and_none():
    edges, counts = alignment_histograms(reader([(0.5, 0.5, True)]), num_bins=2)
    assert np.isfinite(edges).all() and all(found.sum() == 1 for found in counts.values())
    with pytest.raises(ValueError, match="no caption has a score.*score_refined"):
        alignment_histograms(reader([ROWS[4]], []))


def test_without_matplotlib_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match="pip install matplotlib"):
        plot_alignments(tmp_path, tmp_path / "a.png")
