"""Ways out of a finished reduction: `lavis-tldr export RUN --out DIR --format FORMAT`.

An export's folder is a stage's: its manifest says what it was made from, so that a second run writes only the
missing files, and never mixes two ledgers.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from lavis_tldr.exports.finished_ledger import FinishedLedger, read_json
from lavis_tldr.exports.formats import CAPTIONS, FORMATS, PartWriter, writer_of
from lavis_tldr.exports.part_files import PartJob, run_jobs
from lavis_tldr.files import TEMPORARY_PREFIX
from lavis_tldr.runs.manifest import changes
from lavis_tldr.runs.stage_folder import MANIFEST, Stage
from lavis_tldr.user_errors import closest


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

    What the source tells of its images (``sources.record.METADATA``) and how often a pair is kept (``repeats``) goes
    out in ``webdataset``, ``parquet`` and ``keys``: those columns of it that the ledger has, and of which it has a
    value for any record, kept or not.

    Args:
        run: The run folder, or a reduced set's in it.
        out: Folder to write to; made if missing.
        format: One of ``formats.FORMATS``.
        name: The reduced set, where the run has several.
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
    first.kept_pairs(caption)  # a caption that was never made is found before anything is written
    stage = _open_stage(Path(os.path.abspath(out)), {"format": format, "caption": caption}, ledger)
    written = 0
    if not _is_done(stage):
        started = time.monotonic()
        writer = writer_of(format)
        if isinstance(writer, PartWriter):
            written = _write_parts(stage, ledger, format, writer, caption, num_workers)
        else:
            written = writer.write(ledger, caption, stage.write, num_workers)
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


def _write_parts(
    stage: Stage, ledger: FinishedLedger, format: str, writer: PartWriter, caption: str, num_workers: int
) -> int:
    """Write the missing parts; their number.

    A part that keeps nothing gets no file: WebDataset takes an empty tar for an error.
    """
    for file_name, text in writer.beside.items():
        with stage.write(file_name) as path:
            path.write_text(text, encoding="utf-8")
    full = {part.name: part for part in ledger.parts if part.num_kept}
    pending = stage.pending(list(full), writer.suffix)
    jobs = [PartJob(stage, full[name], format, caption) for name in pending]
    ledger.refuse_lost(dict(zip(pending, run_jobs(jobs, num_workers), strict=True)))
    return len(pending)
