"""Build: the reduced set that LAVIS trains on, part by part, from the ledger."""

import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TextIO

import pyarrow as pa
from lavis.common.dist_utils import is_main_process

from lavis_tldr.exports.annotation_list import annotation_rows, entry_text, write_entries
from lavis_tldr.exports.images import export_images, find_exported
from lavis_tldr.exports.pairs import location_of
from lavis_tldr.files import write_whole
from lavis_tldr.models.collectives import barrier
from lavis_tldr.runs.ledger import iter_ledger
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import PLACE
from lavis_tldr.stages.context import Context, finish_on_first, share_missing

ANNOTATIONS, KEYS, IMAGES = "annotations.json", "keys.txt", "images"


def run(context: Context, stage: Stage) -> None:
    """Write the annotations, the keep-list and, with ``images: export``, the kept images.

    ``build/annotations.json``, ``build/keys.txt`` and ``build/images/<part>/``: the folder ``build`` is what
    ``tldr_reduced`` is given as its path.

    Raises:
        ValueError: If an image to export has gone missing.
    """
    started = time.monotonic()
    stage.scratch.mkdir(parents=True, exist_ok=True)
    for name in share_missing(context.part_names, partial(_rows_path, stage)):
        _write_rows(context, stage, name)
    barrier()
    counts = {}
    if is_main_process():
        with stage.write(ANNOTATIONS) as path, stage.write(KEYS) as keys, open(keys, "w", encoding="utf-8") as file:
            written = write_entries(path, _entries(context, stage, file))
        counts = {"read": context.stage("ledger").manifest["counts"]["read"], "written": written}
    finish_on_first(stage, counts, time.monotonic() - started)


def _rows_path(stage: Stage, part_name: str) -> Path:
    return stage.scratch / f"{part_name}.jsonl"


def _write_rows(context: Context, stage: Stage, part_name: str) -> None:
    """The annotation rows of a part, a line each, once its images are there."""
    (kept,) = iter_ledger(context.stage("ledger").part_path(part_name), only_kept=True)
    files = None
    if context.config.images == "export":
        files = _export(kept, stage.folder / IMAGES, part_name)
    with write_whole(_rows_path(stage, part_name)) as path, open(path, "w", encoding="utf-8") as file:
        file.writelines(entry_text(row) + "\n" for row in annotation_rows(kept, files))


def _export(kept: pa.Table, images: Path, part_name: str) -> dict[str, str]:
    """Write a part's images into a folder of their own; the path below ``images`` of each, by image key."""
    places = ((row["image_key"], location_of(row)) for row in kept.select(["image_key", *PLACE]).to_pylist())
    exported = export_images(places, images / part_name)
    # The copy of an image that the source has lost is as good.
    files = exported.files | {key: find_exported(images / part_name, key) for key in exported.errors}
    lost = [key for key, name in files.items() if not name]
    if lost:
        raise ValueError(
            f"{len(lost)} kept images of part {part_name} have gone missing since they were encoded (first: "
            f"{lost[0]!r}, {exported.errors[lost[0]]}). Restore them, or let others of their clusters stand in: "
            "`lavis-tldr repair RUN`."
        )
    _remove_others(images / part_name, set(files.values()))
    return {key: f"{part_name}/{name}" for key, name in files.items()}


def _remove_others(folder: Path, names: set[str]) -> None:
    """Delete images of samples that are kept no more, since others stand in for them."""
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in names:
            path.unlink()


def _entries(context: Context, stage: Stage, keys: TextIO) -> Iterator[str]:
    """The annotation entries of all parts as they were written, each part's keys written to a file on the way."""
    for name in context.part_names:
        (kept,) = iter_ledger(context.stage("ledger").part_path(name), ["key"], only_kept=True)
        keys.writelines(f"{key}\n" for key in kept["key"].to_pylist())
        with open(_rows_path(stage, name), encoding="ascii") as file:
            yield from (line.rstrip("\n") for line in file)


def forget_images(stage: Stage) -> None:
    """Delete the exported images, of a set that is to be built anew."""
    shutil.rmtree(stage.folder / IMAGES, ignore_errors=True)
