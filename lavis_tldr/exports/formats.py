"""The formats that a finished set can be exported in: one table, light enough for the command's help.

A format is a line here and a module whose ``WRITER`` writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lavis_tldr.exports.finished_ledger import FinishedLedger
    from lavis_tldr.exports.pairs import Pair

CAPTIONS = ("caption", "caption_original", "caption_generated")

OpenFile = Callable[[str], AbstractContextManager[Path]]


@dataclass(frozen=True)
class Format:
    """A format.

    Args:
        about: What it is, in a few words.
        module: Of this package, with its writer.
    """

    about: str
    module: str


FORMATS = {
    "lavis": Format("annotations", "annotation_list"),
    "lavis_repeated": Format("repeats written out, for stock LAVIS", "annotation_repeats"),
    "keys": Format("keep-list for the source", "key_index"),
    "webdataset": Format("tars", "webdataset_tar"),
    "parquet": Format("for Hugging Face datasets", "parquet_images"),
}


@dataclass(frozen=True)
class PartWriter:
    """Writes a file for each ledger part that keeps something, in any number of processes.

    Args:
        suffix: Of a part's file.
        write: Writes pairs, and those fields of their rows named besides, to a file; returns the number of pairs.
        beside: Text of each file that the parts' folder needs besides.
    """

    suffix: str
    write: Callable[[Iterable[Pair], Path, Sequence[str]], int]
    beside: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SetWriter:
    """Writes files that each hold all parts.

    Args:
        write: Given the ledger, which of :data:`CAPTIONS` to choose, what opens a file by its name, to be written whole
            or not at all (``Stage.write``), and a number of threads to look for images with; returns the number of
            files.
    """

    write: Callable[[FinishedLedger, str, OpenFile, int], int]


def writer_of(format: str) -> PartWriter | SetWriter:
    """The writer of one of :data:`FORMATS`, whose module is imported only now."""
    return import_module(f"lavis_tldr.exports.{FORMATS[format].module}").WRITER
