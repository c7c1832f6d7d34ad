"""Formats of one file a ledger part, written by any number of processes."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from lavis_tldr.exports.finished_ledger import LedgerPart
from lavis_tldr.exports.formats import writer_of
from lavis_tldr.exports.pairs import LostImages, read_pairs
from lavis_tldr.runs.stage_folder import Stage


@dataclass(frozen=True)
class PartJob:
    """One part to write, in this process or another.

    Args:
        stage: The export's folder, open.
        part: The ledger's.
        format: One of ``formats.FORMATS`` with a ``PartWriter``.
        caption: The caption to choose.
    """

    stage: Stage
    part: LedgerPart
    format: str
    caption: str

    def run(self) -> LostImages:
        """Write the part, unless images are lost."""
        started = time.monotonic()
        name, writer, lost = self.part.name, writer_of(self.format), LostImages()
        try:
            with self.stage.write(name + writer.suffix) as path:
                pairs = read_pairs(self.part.kept_pairs(self.caption), self.part.copies, lost)
                count = writer.write(pairs, path, self.part.further)
                if lost.count:
                    raise _Incomplete
                # The note first: a part that is there always has one.
                seconds = round(time.monotonic() - started, 3)
                self.stage.note_part(name, {"read": self.part.num_read, "written": count, "seconds": seconds})
        except _Incomplete:
            pass
        return lost


class _Incomplete(Exception):
    """Leaves a part's file unwritten."""


def run_jobs(jobs: list[PartJob], num_workers: int) -> list[LostImages]:
    """Write parts by a pool of processes.

    Raises:
        ValueError: If a process is killed; as a part's writer does, once the parts under way are written.
    """
    if num_workers == 1 or len(jobs) < 2:
        return [job.run() for job in jobs]
    # Forked, since a new interpreter would import LAVIS and PyTorch for each worker.
    pool = ProcessPoolExecutor(min(num_workers, len(jobs)), mp_context=multiprocessing.get_context("fork"))
    try:
        return [future.result() for future in [pool.submit(job.run) for job in jobs]]
    except BrokenProcessPool as error:
        raise ValueError(
            "a worker process ended abruptly (out of memory, or killed). Run the same command again, with fewer "
            "workers if need be: finished parts are kept."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
