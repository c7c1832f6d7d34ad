"""How a downstream set's files lie, as `lavis-tldr data` tells of them and converts them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class NeededFile:
    """A file, or a folder of files, of a set.

    Attributes:
        path: Below the set's folder; a glob pattern where there are many.
        what: What it holds, in a few words.
        origin: Where it comes from: the address of the page that offers it.
        made: `lavis-tldr data convert` makes it from the others.
    """

    path: str
    what: str
    origin: str
    made: bool = False


@dataclass(frozen=True)
class DownstreamSet:
    """A set of an evaluation.

    Attributes:
        name: As `lavis-tldr data check NAME` knows it, and its folder below the data root.
        title: Its name in the literature.
        terms: Under which terms it is given.
        files: What belongs to it.
        convert: Makes the lists that LAVIS reads from official files: given the set's folder, writes those of ``files``
            that are ``made``, and gives a line for each written (file, entries, what was left out and why). Raises
            ValueError for a missing file or one of another layout. None: nothing to convert.
    """

    name: str
    title: str
    terms: str
    files: tuple[NeededFile, ...]
    convert: Callable[[Path], list[str]] | None = None
