"""LAVIS annotation lists of a reduced set, for ``ImageTextPairDataset`` and ``tldr_reduced``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

import pyarrow as pa

from lavis_tldr.exports.finished_ledger import FinishedLedger
from lavis_tldr.exports.formats import OpenFile, SetWriter
from lavis_tldr.exports.pairs import LostImages, iter_rows, locate_images, location_of
from lavis_tldr.files import open_whole
from lavis_tldr.reduction.refinement import DRAWN
from lavis_tldr.runs.stages import REPEATS
from lavis_tldr.sources.record import ImageLocation

ANNOTATIONS = "annotations.json"


def annotation_rows(table: pa.Table, files: Mapping[str, str] | None = None) -> Iterator[dict]:
    """Annotations of ledger rows, in their order.

    ``image`` is the copy's path where images were copied. Where they were not, it is the source's own file;
    for an image inside another file it only names it, and ``tldr_reduced`` reads it in place: in a tar, by
    ``tar``, ``offset`` and ``size``; in a Parquet table, by ``table``, ``column``, ``row`` and ``size``.

    Args:
        table: Kept ledger rows.
        files: Path of each copied image, by image key; None where images stay where they are.

    Yields:
        ``{"image", "key", "caption", "caption_original", "caption_generated"}``, those of a tar or a table, and
        where ``tldr_reduced`` is to draw one of the two captions ``caption_from``, "drawn": ``caption`` is both,
        joined, for who reads that field alone. ``repeats`` where the set may keep a pair more than once: how often
        ``tldr_reduced`` counts it. Who does not know the field sees the pair once: the format ``lavis_repeated`` writes
        it out.
    """
    for row in iter_rows(table):
        captions = {name: row[name] for name in ("key", "caption", "caption_original", "caption_generated")}
        if row["caption_from"] == DRAWN:
            captions["caption_from"] = DRAWN
        if (repeats := row.get(REPEATS)) is not None:
            captions[REPEATS] = repeats
        if files is not None:
            yield {"image": files[row["image_key"]], **captions}
        elif row["image_offset"] >= 0:
            yield {"image": f"{row['image_key']}.jpg", **captions, **_inside(location_of(row))}
        else:
            yield {"image": row["image_path"], **captions}


def _inside(location: ImageLocation) -> dict:
    """Where in another file an image is."""
    if location.column:
        place = {"table": location.file, "column": location.column, "row": location.offset}
    else:
        place = {"tar": location.path, "offset": location.offset}
    return {**place, "size": location.size}


def write_annotations(path: str | os.PathLike, rows: Iterable[Mapping]) -> int:
    """Write a LAVIS annotation list, one entry a line, whole or not at all.

    The file is ASCII (other characters escaped), because LAVIS opens it in the locale's encoding.

    Args:
        path: The JSON file; its folder is made.
        rows: Entries, e.g. ``{"image": ..., "caption": ...}``.

    Returns:
        The number of entries.

    Raises:
        ValueError: If an entry holds NaN or infinity, which JSON has no word for.
    """
    return write_entries(path, map(entry_text, rows))


def entry_text(row: Mapping) -> str:
    """An entry of an annotation list as one line of ASCII JSON, without the line's end.

    Raises:
        ValueError: If it holds NaN or infinity, which JSON has no word for.
    """
    return json.dumps(dict(row), allow_nan=False)


def write_entries(path: str | os.PathLike, entries: Iterable[str]) -> int:
    """As :func:`write_annotations`, of entries that are text already, as :func:`entry_text` gives it."""
    count = 0
    with open_whole(path) as file:
        file.write(b"[")
        for entry in entries:
            file.write((",\n" if count else "\n").encode() + entry.encode("ascii"))
            count += 1
        file.write(b"\n]\n")
    return count


def write_set(
    ledger: FinishedLedger,
    caption: str,
    write: OpenFile,
    num_threads: int,
    *,
    arranged: Callable[[Iterator[dict]], Iterable[dict]] = iter,
) -> int:
    """Write a finished set's annotations (`formats.SetWriter`), ``arranged`` as the format has them."""
    lost: dict[str, LostImages] = {}

    def rows() -> Iterator[dict]:
        for part in ledger.parts:
            lost[part.name] = LostImages()
            kept = locate_images(part.kept_pairs(caption), part.copies, lost[part.name], num_threads)
            yield from annotation_rows(kept)

    with write(ANNOTATIONS) as path:
        write_annotations(path, arranged(rows()))
        ledger.refuse_lost(lost)
    return 1


# Images stay where they are: `tldr_reduced` reads them there, inside tars and tables, too; LAVIS's own
# `ImageTextPairDataset` does so where they are files of their own.
WRITER = SetWriter(write_set)
