"""Tells errors that are the user's to mend (shown as one line) from faults of the program (shown in full)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches

PROGRAM = "lavis-tldr"


def is_user_error(error: BaseException) -> bool:
    """Whether ``error`` was raised by one of this package's own checks, or names a file that is not there."""
    if isinstance(error, FileNotFoundError):
        return True
    if isinstance(error, ImportError):
        return "What to do:" in str(error)
    if isinstance(error, KeyError):
        # A check's KeyError carries a sentence; one from a dict lookup carries just the key.
        return _raised_by_us(error) and " " in str(error.args[0] if error.args else "")
    return isinstance(error, (ValueError, PermissionError)) and _raised_by_us(error)


def _raised_by_us(error: BaseException) -> bool:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and _is_ours(traceback.tb_frame.f_globals)


def _is_ours(frame_globals: dict) -> bool:
    # Under `python -m` a module is called __main__, but keeps its package.
    return str(frame_globals.get("__package__") or "").split(".")[0] == "lavis_tldr"


def run_command(command: Callable[[], int | None], *, debug: bool = False) -> int:
    """Run ``command``; print a user's error as one line and return 2 (with ``debug`` it is raised)."""
    try:
        return int(command() or 0)
    except Exception as error:
        if debug or not is_user_error(error):
            raise
        message = error.args[0] if isinstance(error, KeyError) else error
        # Not `print`, which LAVIS silences on all processes but the first.
        sys.stderr.write(f"{PROGRAM}: error: {message}\n")
        return 2


def closest(name: str, known: Iterable[str]) -> str:
    """ " (did you mean 'max_epoch'?)" or, with nothing close, the list of what is known."""
    known = sorted(known)
    near = get_close_matches(str(name), known, n=3, cutoff=0.6)
    if near:
        return f" (did you mean {' or '.join(map(repr, near))}?)"
    return f" (known: {', '.join(known)})" if known else ""
