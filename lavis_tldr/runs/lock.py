"""One job at a time in a folder: a second one would take the first one's unfinished files for leftovers.

Two files, both gone when the job ends. ``running.lock`` is locked with flock, which ends with the process that holds
it however that dies, so of jobs that meet a dead job's files exactly one gets in. ``running.json`` says who the holder
is, and keeps out jobs on other machines where the file system's flock does not reach them.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

HOLDER = "running.json"
LOCK = "running.lock"


@contextmanager
def run_lock(root: Path) -> Iterator[None]:
    """Hold a folder for the time of a job; one process of the job does, and none that it forks.

    The lock of a job that was killed is taken over. Whether a job on another machine still runs can't be seen from
    here, so its ``running.json`` has to be deleted by hand.

    Args:
        root: A run folder or a reduced set's in it; made if missing.

    Raises:
        ValueError: If another job holds it, of this process or another; says which.
    """
    root.mkdir(parents=True, exist_ok=True)
    process = os.getpid()
    holder, lock = root / HOLDER, FileLock(root / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ValueError(_refusal(holder)) from None
    try:
        _take_over(holder)
        try:
            yield
        finally:
            if os.getpid() == process:  # not a fork of it, which has no part in the lock
                holder.unlink(missing_ok=True)
                Path(lock.lock_file).unlink(missing_ok=True)  # filelock takes no lock on a file that was deleted
    finally:
        lock.release()


def clear_dead_lock(root: Path) -> None:
    """Delete what a killed job has left of its lock in a folder; a living job's stays, and so does one of elsewhere."""
    if (root / HOLDER).exists() or (root / LOCK).exists():
        with suppress(ValueError), run_lock(root):
            pass


def _take_over(holder: Path) -> None:
    """Write this process into ``running.json``; a ValueError if a job on another machine is written there."""
    found = _read(holder)
    if found and found[0] != socket.gethostname():
        raise ValueError(f"{_refusal(holder)} If it no longer runs there, delete {holder}.")
    holder.unlink(missing_ok=True)  # of a job that is dead, or cut short by a crash
    own = json.dumps({"host": socket.gethostname(), "process": os.getpid()}) + "\n"
    try:
        with open(holder, "x", encoding="utf-8") as file:  # cut short by a kill, it names nobody
            file.write(own)
    except FileExistsError:
        raise ValueError(_refusal(holder)) from None


def _refusal(holder: Path) -> str:
    host, process = _read(holder) or ("", 0)
    job = f"process {process} on {host} is at work" if host else "another job has just started"
    return f"{job} in {holder.parent}: wait for it, stop it, or use a new run folder."


def _read(holder: Path) -> tuple[str, int] | None:
    """Host and process of the job that is written there; None if it is gone by now, or cut short by a crash."""
    try:
        found = json.loads(holder.read_text(encoding="utf-8"))
        return str(found["host"]), int(found["process"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
