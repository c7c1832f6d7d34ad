"""One job at a time in a folder: a second one would take the first one's unfinished files for leftovers."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lavis_tldr.files import create_whole

LOCK = "running.json"


@contextmanager
def run_lock(root: Path) -> Iterator[None]:
    """Hold a folder for the time of a job; one process of the job does.

    The lock of a job that was killed is taken over. Whether a job on another machine still runs can't be seen from
    here, so its lock has to be deleted by hand.

    Args:
        root: A run folder or a set's in it; made if missing.

    Raises:
        ValueError: If another job holds it; says which.
    """
    root.mkdir(parents=True, exist_ok=True)
    path = root / LOCK
    own = json.dumps({"host": socket.gethostname(), "process": os.getpid()}) + "\n"
    if not create_whole(path, own):
        _refuse_living(path)
        path.unlink(missing_ok=True)
        if not create_whole(path, own):
            raise ValueError(f"another job has just started in {root}: wait for it, or use a new run folder.")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _refuse_living(path: Path) -> None:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        host, process = str(holder["host"]), int(holder["process"])
    except (OSError, ValueError, KeyError, TypeError):
        return  # gone by now, or cut short by a crash
    if host == socket.gethostname() and not _lives(process):
        return
    hint = "" if host == socket.gethostname() else f" If it no longer runs there, delete {path}."
    raise ValueError(
        f"process {process} on {host} is at work in {path.parent}: wait for it, stop it, or use a new run folder.{hint}"
    )


def _lives(process: int) -> bool:
    if process == os.getpid():
        return False  # an earlier job of this process, since over
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
