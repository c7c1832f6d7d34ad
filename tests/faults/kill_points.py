"""What a rank does to the run folder, event by event, and the event at which it is to die.

Events are calls that change the file system (as Python's audit hooks see them), and the moments around each
``Stage.write``, because pyarrow writes files behind Python's back. A stage's events are those from the moment when
the process first touches the stage's folder until it touches the next stage's.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import STAGES

START = "start"  # what happens before the first stage
PHASES = (START, *STAGES)
ANY = "any"
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = ("os.rename", "os.remove", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")


class Tally:
    """Counts and times of the phases, shared by a job's ranks; made before they are forked."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self.lock = context.Lock()
        self.events = context.Array("q", len(PHASES), lock=False)
        self.began = context.Array("d", len(PHASES), lock=False)  # seconds of the monotonic clock; 0: not yet

    def figures(self) -> dict[str, dict]:
        """``{phase: {"events": ..., "began": ...}}`` of the phases that were entered."""
        return {
            phase: {"events": self.events[i], "began": self.began[i]} for i, phase in enumerate(PHASES) if self.began[i]
        }


class Watch:
    """Counts this process's events in ``run_folder``, and kills it at the one that ``kill`` names.

    Args:
        run_folder: Events elsewhere do not count.
        tally: Shared by the ranks.
        kill: ``{"phase": ..., "event": n}`` dies at the n-th event of all ranks in that phase, or in all where
            it is "any". ``{"phase": ..., "after": seconds}`` is the server's to do; here it only means to die at
            the start of the next phase if the server has not been quick enough. None counts only.
        report: File descriptor that takes one line of JSON before the process dies.
    """

    def __init__(self, run_folder: Path, tally: Tally, kill: dict | None, report: int):
        self._root = os.path.abspath(run_folder)
        self._tally, self._kill, self._report = tally, kill, report
        self._phase = START
        tally.began[0] = tally.began[0] or time.monotonic()

    def start(self) -> None:
        sys.addaudithook(self._audit)
        original = Stage.write

        @contextmanager
        def write(stage, file_name, *rest, **options):
            target = str(stage.folder / file_name)
            self._event("before write", target)
            with original(stage, file_name, *rest, **options) as temporary:
                yield temporary
                self._event("written, not renamed", target)
            self._event("renamed", target)

        Stage.write = write

    def _audit(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and not isinstance(path, int):
                self._event("open", os.fsdecode(path))
        elif event in _CHANGES:
            path = os.fsdecode(arguments[1] if event in ("os.rename", "os.link") else arguments[0])
            folder = arguments[-1] if event in ("os.remove", "os.rmdir") else -1
            if isinstance(folder, int) and folder >= 0:  # shutil.rmtree names files by their open folder
                path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
            self._event(event, path)

    def _event(self, what: str, path: str) -> None:
        path = os.path.abspath(path)
        if not path.startswith(self._root + os.sep):
            return
        inside = path[len(self._root) + 1 :]
        phase = next((name for name in inside.split(os.sep) if name in STAGES), self._phase)
        with self._tally.lock:
            i = PHASES.index(phase)
            self._tally.began[i] = self._tally.began[i] or time.monotonic()
            self._tally.events[i] += 1
            last, self._phase = self._phase, phase
            if self._kill and self._is_due(last, phase):
                self._die(f"event {self._tally.events[i]}: {what} {inside}", phase)

    def _is_due(self, last: str, phase: str) -> bool:
        wanted = self._kill["phase"]
        if "after" in self._kill:
            return last == wanted != phase
        events = dict(zip(PHASES, self._tally.events, strict=True))
        return wanted in (phase, ANY) and self._kill["event"] == (
            sum(events.values()) if wanted == ANY else events[phase]
        )

    def _die(self, where: str, phase: str) -> None:
        os.write(self._report, json.dumps({"phase": phase, "at": where}).encode() + b"\n")
        os.kill(os.getpid(), signal.SIGKILL)
