"""All sets of the downstream evaluations, and which of their files are there.

Sets lie below a data root: that of the environment variable TLDR_DATA, else ``data``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lavis_tldr.datasets.downstream.coco import COCO
from lavis_tldr.datasets.downstream.coco_caption import COCO_CAPTION
from lavis_tldr.datasets.downstream.flickr30k import FLICKR30K
from lavis_tldr.datasets.downstream.imagenet import IMAGENET, IMAGENET_A, IMAGENET_R
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile
from lavis_tldr.datasets.downstream.msrvtt import MSRVTT
from lavis_tldr.datasets.downstream.nlvr2 import NLVR2
from lavis_tldr.datasets.downstream.nocaps import NOCAPS
from lavis_tldr.datasets.downstream.refcoco import REFCOCO_PLUS
from lavis_tldr.datasets.downstream.vqa import VQA
from lavis_tldr.user_errors import closest

ROOT_VARIABLE = "TLDR_DATA"
_SAMPLE = "-sample"  # of a set's folder that holds a part of it: imagenet-sample counts as imagenet


_ALL: tuple[DownstreamSet, ...] = (
    *(COCO, FLICKR30K, VQA, NLVR2, REFCOCO_PLUS, COCO_CAPTION, NOCAPS, MSRVTT),
    *(IMAGENET, IMAGENET_A, IMAGENET_R),
)
SETS: dict[str, DownstreamSet] = {found.name: found for found in _ALL}


def data_root(given: str | Path | None = None) -> Path:
    """Where the sets lie: ``given``, or what `ROOT_VARIABLE` says, or ``data``."""
    return Path(given or os.environ.get(ROOT_VARIABLE) or "data")


def find_sets(names: Iterable[str]) -> list[DownstreamSet]:
    """The sets of these names; all of them for none.

    Raises:
        ValueError: If one is unknown.
    """
    names = list(names)
    for name in names:
        if name not in SETS:
            raise ValueError(f"there is no set {name!r}{closest(name, SETS)}.")
    return [SETS[name] for name in names or SETS]


def set_folder(downstream: DownstreamSet, root: Path) -> Path:
    """The set's folder below the root, or that of a sample of it, where that is the one that is there."""
    folder, sample = root / downstream.name, root / f"{downstream.name}{_SAMPLE}"
    return sample if sample.is_dir() and not folder.is_dir() else folder


@dataclass(frozen=True)
class FoundFile:
    """A file of a set.

    Attributes:
        needed: What it is.
        count: How many were found of it: 1 for a file or folder, more where its path is a pattern; 0: it is missing.
    """

    needed: NeededFile
    count: int


def look_up(downstream: DownstreamSet, folder: Path) -> Iterator[FoundFile]:
    """Each of a set's files, with how many were found in its folder."""
    for needed in downstream.files:
        yield FoundFile(needed, count_files(folder, needed.path))


def count_files(folder: Path, path: str) -> int:
    """How many files or folders there are of this path or pattern; an empty folder counts as missing."""
    return sum(_has_content(found) for found in folder.glob(path))


def missing_files(downstream: DownstreamSet, folder: Path, paths: Iterable[str]) -> list[NeededFile]:
    """Those of the set's files, of these paths, that are not there."""
    wanted = set(paths)
    return [needed for needed in downstream.files if needed.path in wanted and not count_files(folder, needed.path)]


def told_missing(downstream: DownstreamSet, folder: Path, missing: NeededFile) -> str:
    """A line on a missing file: what it is and how to get it."""
    if missing.made:
        return (
            f"{folder / missing.path} is missing ({missing.what}): `lavis-tldr data convert {downstream.name}` makes it"
        )
    return f"{folder / missing.path} is missing ({missing.what}): {missing.origin}"


def _has_content(path: Path) -> bool:
    return path.is_file() or any(path.iterdir())
