"""A random sample of the usable records, the same for every number of parts and processes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.reduction.draw import draw_rows
from lavis_tldr.stages import encode
from lavis_tldr.stages.context import Context


@dataclass(frozen=True)
class Sample:
    """Drawn samples, n of them, in order of key.

    Attributes:
        keys: n keys.
        parts: Names of the source's parts.
        part: Which of them holds each sample, (n,), int64.
        row: The sample's row among the part's usable records, (n,), int64.
    """

    keys: list[str]
    parts: list[str]
    part: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def by_part(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """For each part with drawn samples its name, their rows in it, and their places in the sample."""
        for number, name in enumerate(self.parts):
            places = np.flatnonzero(self.part == number)
            if len(places):
                yield name, self.row[places], places


def draw_sample(context: Context, size: int, seed: int) -> Sample:
    """At most ``size`` usable records, drawn by their keys and the seed."""
    tables = context.load_parts(context.stage("encode"), ["key", "error"])
    usable = (table["key"].filter(pc.equal(table["error"], "")).to_pylist() for table in tables)
    part, row, keys = draw_rows(usable, size, seed=seed)
    return Sample(keys, context.part_names, part, row)


def load_drawn(context: Context, sample: Sample, columns: list[str]) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """For each part with drawn samples their rows of encode's table, and their places in the sample."""
    for name, rows, places in sample.by_part():
        yield encode.load_usable(context, name, columns).take(rows), places
