"""Code that may not import, or take the whole process with it: run in a Python process apart."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading

# What the other process runs. Each line of its input is code, in JSON; each of its answers is a line, too.
_LOOP = """
import contextlib, io, json, os, sys, traceback
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    printed, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(printed):
            exec(json.loads(line), {"__name__": "__main__"})
    except BaseException as problem:
        error = "".join(traceback.format_exception_only(type(problem), problem)).strip().splitlines()[-1]
    print(json.dumps([printed.getvalue().strip(), error]), file=answers, flush=True)
"""


class Interpreter:
    """Runs pieces of code one after another in a Python process of its own, so that what one imports the next one has.

    After an error the next piece gets a new process: what is left of a failed import is no ground to stand on. LAVIS is
    imported there without this plugin.

    Args:
        seconds: How long one piece may take.
    """

    def __init__(self, seconds: float = 180.0):
        self._seconds = seconds
        self._process: subprocess.Popen | None = None

    def run(self, code: str) -> tuple[str, str]:
        """What the code printed, and the last line of its error or ""; also of one that the process died of."""
        process = self._process = self._process or self._start()
        told_before = os.fstat(self._told.fileno()).st_size
        late = threading.Timer(self._seconds, process.kill)
        late.start()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(code) + "\n")
            process.stdin.flush()
        answer = process.stdout.readline()
        in_time = late.is_alive()
        late.cancel()
        if answer:
            output, error = json.loads(answer)
        else:
            output, error = "", self._cause_of_death(told_before) if in_time else f"no answer after {self._seconds:g} s"
        if error:
            self.close()
            return "", error
        return output, ""

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None
            self._told.close()

    def _start(self) -> subprocess.Popen:
        # What it writes to stderr: a pipe that nobody empties would stop it.
        self._told = tempfile.TemporaryFile()  # noqa: SIM115  (`close` closes it)
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._told,
            text=True,
            env={**os.environ, "LAVIS_TLDR_NO_REGISTER": "1"},
        )

    def _cause_of_death(self, told_before: int) -> str:
        status = self._process.wait()
        told = os.fstat(self._told.fileno()).st_size - told_before
        # Not `seek`: the other process writes where this one's file is.
        lines = os.pread(self._told.fileno(), told, told_before).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"the interpreter died with exit status {status}"
