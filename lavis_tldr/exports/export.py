"""Ways out of a finished reduction: `lavis-tldr export RUN --out DIR --format FORMAT`.

An export's folder is a stage's: its manifest says what it was made from, so that a second run writes only the
missing files, and never mixes two ledgers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from lavis_tldr.exports.annotation_list import annotation_rows, write_annotations
from lavis_tldr.exports.finished_ledger import FinishedLedger, read_json
from lavis_tldr.exports.key_index import write_keep_list
from lavis_tldr.exports.pairs import CAPTIONS, LostImages, locate_images
from lavis_tldr.exports.part_files import PART_FORMATS, PartJob, run_jobs
from lavis_tldr.files import TEMPORARY_PREFIX
from lavis_tldr.runs.manifest import changes
from lavis_tldr.runs.stage_folder import MANIFEST, Stage
from lavis_tldr.user_errors import closest

ANNOTATIONS = "annotations.json"
FORMATS = ("lavis", "keys", *PART_FORMATS)


def export_set(
    run: Path,
    out: Path,
    format: str,
    *,
    name: str | None = None,
    caption: str = "caption",
    num_workers: int = 1,
) -> dict:
    """Write the kept pairs of a finished reduction in another format. Nothing is written outside ``out``.

    - ``lavis``: ``annotations.json``, which leaves the images where they are, for ``tldr_reduced`` (which reads
      tars in place) and, where images are files of their own, for LAVIS's own ``ImageTextPairDataset``.
    - ``keys``: ``keys.txt``, ``keep_list.parquet`` and the files of :class:`lavis_tldr.keep_list.KeepList`.
    - ``webdataset``: ``<part>.tar`` for each ledger part that has kept pairs, with the images' own bytes.
    - ``parquet``: ``<part>.parquet`` likewise, for Hugging Face ``datasets``.

    Args:
        run: The run folder, or a recipe's in it.
        out: Folder to write to; made if missing.
        format: One of :data:`FORMATS`.
        name: The recipe, where the run has several.
        caption: ``caption`` (the refined one), ``caption_original`` or ``caption_generated``.
        num_workers: Processes that write parts; for ``lavis``, threads that look for images.

    Returns:
        Counts: ``read`` and ``kept`` pairs, ``parts`` of the ledger, and ``files_written`` with pairs by this call.

    Raises:
        ValueError: If there is no finished reduction, or ``out`` holds something else; if pairs have no such
            caption; if images can't be read any more, after all other parts are written.
    """
    _check_choices(format, caption, num_workers)
    ledger = FinishedLedger(run, name)
    first = next((part for part in ledger.parts if part.num_kept), None)
    if first is None:
        raise ValueError(f"{ledger.folder} keeps none of its {ledger.num_read} records: there is nothing to export.")
    first.kept_pairs(caption)  # a caption that the recipe never made is found before anything is written
    stage = _open_stage(Path(os.path.abspath(out)), {"format": format, "caption": caption}, ledger)
    written = 0
    if not _is_done(stage):
        started = time.monotonic()
        if format in PART_FORMATS:
            written = _write_parts(stage, ledger, format, caption, num_workers)
        else:
            written = _write_as_one(stage, ledger, format, caption, num_workers)
        stage.finish({"read": ledger.num_read, "written": ledger.num_kept}, time.monotonic() - started)
    return {"read": ledger.num_read, "kept": ledger.num_kept, "parts": len(ledger.parts), "files_written": written}


def _check_choices(format: str, caption: str, num_workers: int) -> None:
    for what, value, known in (("format", format, FORMATS), ("caption", caption, CAPTIONS)):
        if value not in known:
            raise ValueError(f"export {what} {value!r} is unknown{closest(value, known)}.")
    if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 1:
        raise ValueError(f"num_workers is {num_workers!r}; give a whole number of at least 1.")


def _open_stage(out: Path, config: dict, ledger: FinishedLedger) -> Stage:
    """The export's folder, opened.

    Raises:
        ValueError: If it holds something else than this export.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; give a folder to export to.")
    stage = Stage(out.parent, out.name, config, {"ledger": ledger.digest()})
    found = read_json(out / MANIFEST)
    if found is not None:
        lines = changes(found.get("config", {}), stage.config)
        if found.get("inputs") != stage.inputs:
            lines.append(f"it was made from another ledger than {ledger.folder}, or from this one before it changed")
        if lines:
            told = "".join(f"  {line}\n" for line in lines)
            raise ValueError(f"{out} holds something else already:\n{told}Give a new folder, or delete that one.")
    elif out.is_dir():
        strays = sorted(path.name for path in out.iterdir() if not path.name.startswith(TEMPORARY_PREFIX))
        if strays:
            raise ValueError(f"{out} holds files that are no export's (first: {strays[0]!r}): give a new folder.")
    stage.open()
    return stage


def _is_done(stage: Stage) -> bool:
    try:
        return stage.is_done()
    except ValueError as error:
        raise ValueError(
            f"{error}\nOf an export, delete the changed file instead, and run the same command again to write it anew."
        ) from error


def _write_as_one(stage: Stage, ledger: FinishedLedger, format: str, caption: str, num_workers: int) -> int:
    """Write a format whose files each hold all parts; the number of files."""
    if format == "keys":
        parts = ((part.name, part.kept_pairs(caption)) for part in ledger.parts)
        return write_keep_list(parts, stage.write, key_prefix=ledger.key_prefix)
    lost: dict[str, LostImages] = {}
    with stage.write(ANNOTATIONS) as path:
        write_annotations(path, _annotations(ledger, caption, lost, num_workers))
        _refuse_lost(lost, ledger)
    return 1


def _annotations(ledger: FinishedLedger, caption: str, lost: dict[str, LostImages], num_threads: int) -> Iterator[dict]:
    for part in ledger.parts:
        lost[part.name] = LostImages()
        yield from annotation_rows(locate_images(part.kept_pairs(caption), part.copies, lost[part.name], num_threads))


def _write_parts(stage: Stage, ledger: FinishedLedger, format: str, caption: str, num_workers: int) -> int:
    """Write the missing parts; their number.

    A part that keeps nothing gets no file: WebDataset takes an empty tar for an error.
    """
    for file_name, text in PART_FORMATS[format].beside.items():
        with stage.write(file_name) as path:
            path.write_text(text, encoding="utf-8")
    full = {part.name: part for part in ledger.parts if part.num_kept}
    pending = stage.pending(list(full), PART_FORMATS[format].suffix)
    jobs = [PartJob(stage, full[name], format, caption) for name in pending]
    found = dict(zip(pending, run_jobs(jobs, num_workers), strict=True))
    _refuse_lost(found, ledger)
    return len(pending)


def _refuse_lost(lost: dict[str, LostImages], ledger: FinishedLedger) -> None:
    lost = {name: found for name, found in lost.items() if found.count}
    if not lost:
        return
    examples = [text for found in lost.values() for text in found.first][:5]
    raise ValueError(
        f"{sum(found.count for found in lost.values())} kept images in {len(lost)} of {len(ledger.parts)} parts can't "
        "be read any more:\n"
        + "".join(f"  {text}\n" for text in examples)
        + "Put them back and run the same command again, which writes what is still missing; or let others step in by "
        f"`lavis-tldr repair {ledger.run}` (with --decode, if files are there but broken) and export to a new folder."
    )
