"""What a reduction says in words when it ends."""

import pyarrow as pa
import pytest

from lavis_tldr.reduction.caption_measures import measure_captions
from lavis_tldr.stages.summary import _caption_lines

NAN = float("nan")


def ledger_of(alignment, refined):
    row = {"key": "a", "error": "", "caption_original": "a kite", "caption_generated": "a dog", "caption": "a dog"}
    row |= {"alignment": alignment, "alignment_generated": refined, "alignment_refined": refined}
    table = pa.Table.from_pylist([row])
    return lambda columns, only_kept: [table.select(columns)]


@pytest.mark.parametrize(
    ("alignment", "refined", "told"),
    [
        (0.25, 0.5, ["    mean alignment 0.5 (originals 0.25)"]),
        (NAN, 0.5, ["    mean alignment 0.5"]),  # the scorer knows no word of the originals
        (0.25, NAN, []),
    ],
)
def test_mean_alignment_where_captions_are_scored(alignment, refined, told):
    lines = _caption_lines(measure_captions(ledger_of(alignment, refined), threshold=0.0))
    assert [line for line in lines if "alignment" in line] == told
