"""LAVIS annotation lists with repeated pairs written out, for readers that don't know the field ``repeats``."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import partial

from lavis_tldr.exports.annotation_list import write_set
from lavis_tldr.exports.formats import SetWriter
from lavis_tldr.runs.stages import REPEATS


def repeated(rows: Iterable[dict]) -> Iterator[dict]:
    """Each annotation as often as its ``repeats`` says, without that field; keys are not unique then."""
    for row in rows:
        yield from itertools.repeat(row, row.pop(REPEATS, 1))


# For LAVIS's own `ImageTextPairDataset`; `tldr_reduced` knows the field.
WRITER = SetWriter(partial(write_set, arranged=repeated))
