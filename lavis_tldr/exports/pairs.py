"""The pairs that an export writes: a ledger part's kept rows, their chosen captions and their images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.exports.formats import CAPTIONS
from lavis_tldr.exports.images import find_exported
from lavis_tldr.runs.stages import PLACE, REPEATS
from lavis_tldr.sources.image_bytes import image_problem, read_image_bytes
from lavis_tldr.sources.images import image_suffix
from lavis_tldr.sources.record import METADATA, ImageLocation

COLUMNS = (
    *("key", "image_key", "kept", *CAPTIONS, "caption_from"),
    *("cluster", "alignment", *PLACE),
)
# Columns that go out with the pairs where the ledger has them.
FURTHER = {**METADATA, REPEATS: pa.int32()}
_ROWS_AT_ONCE = 1024


@dataclass
class LostImages:
    """Images of a part that can't be read any more: how many, and what is wrong with the first few."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, key: str, why: object) -> None:
        self.count += 1
        if len(self.first) < 5:
            self.first.append(f"{key!r}: {why}")


@dataclass(frozen=True)
class Pair:
    """A kept ledger row, and its image's original bytes with the suffix that fits them (``".jpg"``)."""

    row: dict
    image: bytes
    suffix: str


def kept_pairs(table: pa.Table, caption: str = "caption") -> pa.Table:
    """The kept rows of a ledger part, sorted by key, with the chosen caption in the column ``caption``.

    Args:
        table: Rows of one ledger part, with :data:`COLUMNS` and, if wanted, others.
        caption: Which of ``formats.CAPTIONS`` to choose; ``caption_from`` follows it.

    Returns:
        The rows; ``alignment`` is null where there is no score.

    Raises:
        ValueError: If a kept pair has no such caption.
    """
    table = table.filter(table["kept"]).sort_by("key").combine_chunks()
    empty = table["key"].filter(pc.fill_null(pc.equal(table[caption], ""), True))
    if len(empty):
        others = ", ".join(name for name in CAPTIONS if name != caption)
        raise ValueError(
            f"{len(empty)} of {table.num_rows} kept pairs of a part have no {caption} (first: {empty[0].as_py()!r}). "
            f"Export another caption ({others}), or refine with a recipe that makes it."
        )
    if caption != "caption":
        origin = pa.array([caption.removeprefix("caption_")] * table.num_rows, pa.string())
        table = _replaced(_replaced(table, "caption", table[caption]), "caption_from", origin)
    return _replaced(table, "alignment", pc.if_else(pc.is_nan(table["alignment"]), None, table["alignment"]))


def _replaced(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def iter_rows(table: pa.Table) -> Iterator[dict]:
    """A table's rows as dictionaries, without making them all at once."""
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        yield from batch.to_pylist()


def location_of(row: Mapping) -> ImageLocation:
    """Where a ledger row's image was when it was encoded."""
    return ImageLocation(*(row[name] for name in PLACE))


def read_pairs(table: pa.Table, copies: Path, lost: LostImages) -> Iterator[Pair]:
    """Read each pair's image, where it was when it was encoded or else the copy that the reduction made of it.

    Args:
        table: Kept rows of one ledger part.
        copies: Folder of the part's copies; there need be none.
        lost: Is told of the images that can't be read, or are no images any more; such pairs are left out.
    """
    for row in iter_rows(table):
        problems = []
        for location in _places(row, copies):
            try:
                pair = Pair(row, *_read(location, row["image_key"]))
            except ValueError as error:
                problems.append(error)
                continue
            yield pair
            break
        else:
            lost.add(row["key"], problems[0])


def locate_images(table: pa.Table, copies: Path, lost: LostImages, num_threads: int = 1) -> pa.Table:
    """The rows whose image is there, with its place; found as :func:`read_pairs` does, but not read.

    Args:
        table: Kept rows of one ledger part.
        copies: Folder of the part's copies; there need be none.
        lost: Is told of the images that are gone.
        num_threads: How many files to look at together.
    """

    def locate(row: dict) -> ImageLocation | str:
        problems = []
        for location in _places(row, copies):
            if not (problem := image_problem(location, row["image_key"])):
                return location
            problems.append(problem)
        return problems[0]

    with ThreadPoolExecutor(num_threads) as pool:
        found = list(pool.map(locate, iter_rows(table.select(["image_key", *PLACE]))))
    is_there = [isinstance(location, ImageLocation) for location in found]
    for key, there, problem in zip(table["key"].to_pylist(), is_there, found, strict=True):
        if not there:
            lost.add(key, problem)
    table = table.filter(pa.array(is_there, pa.bool_()))
    places = [astuple(location) for location in found if isinstance(location, ImageLocation)]
    for name, values in zip(PLACE, zip(*places, strict=True), strict=False):
        table = _replaced(table, name, pa.array(values, table.schema.field(name).type))
    return table


def _places(row: dict, copies: Path) -> Iterator[ImageLocation]:
    yield location_of(row)
    if copy := find_exported(copies, row["image_key"]):
        yield ImageLocation(str(copies / copy))


def _read(location: ImageLocation, image_key: str) -> tuple[bytes, str]:
    """An image's bytes and the suffix that fits them."""
    if problem := image_problem(location, image_key):
        raise ValueError(problem)
    data = read_image_bytes(location)
    suffix = image_suffix(data)
    if suffix == ".bin":
        raise ValueError(f"what {location.path} holds is no image any more")
    return data, suffix
