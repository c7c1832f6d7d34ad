"""Who is heard while the package works, and what a line on the terminal looks like.

Every module logs to a logger of its own name. What of that is told is one of `VERBOSITIES`; the environment variable
LAVIS_TLDR_VERBOSITY carries it to child processes, such as the ranks of torch.distributed.run.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

VARIABLE = "LAVIS_TLDR_VERBOSITY"
# Verbosity -> the lowest level that is told of this package's records, and of all others'. LAVIS logs to the root.
VERBOSITIES = {
    "quiet": (logging.WARNING, logging.WARNING),
    "normal": (logging.INFO, logging.WARNING),
    "verbose": (logging.DEBUG, logging.INFO),
}
_OURS = ("lavis_tldr", "__main__")  # under `python -m` a module is called __main__
# LAVIS logs it as a warning whenever it evaluates; there is nothing to be warned of.
_NO_WARNING = "rank 0 starts merging results."
_IGNORED_WARNINGS = (
    # Uses in LAVIS and below it of what newer versions of their libraries deprecate.
    {"category": FutureWarning, "module": r"(torch|fairscale|timm|lavis|transformers|huggingface_hub)\."},
    {"message": "pkg_resources is deprecated as an API"},
    {"message": "Deprecated call to `pkg_resources"},
    # LAVIS's autocontrast negates an unsigned 8-bit number, with every version of numpy.
    {"category": RuntimeWarning, "module": r"lavis\.processors\.randaugment", "message": "overflow encountered"},
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``-v`` and ``-q``, which set ``verbosity``; without either the parser's namespace has no such attribute."""
    chosen = parser.add_mutually_exclusive_group()
    common = {"dest": "verbosity", "action": "store_const", "default": argparse.SUPPRESS}
    chosen.add_argument("-v", "--verbose", const="verbose", help="tell details, and what LAVIS tells", **common)
    chosen.add_argument("-q", "--quiet", const="quiet", help="only warnings and errors, no progress", **common)


def verbosity() -> str:
    """What the environment variable says, or "normal".

    Raises:
        ValueError: If it says something else than one of `VERBOSITIES`.
    """
    found = os.environ.get(VARIABLE, "normal")
    if found not in VERBOSITIES:
        raise ValueError(f"the environment variable {VARIABLE} is {found!r}; expected {', '.join(VERBOSITIES)}.")
    return found


def rank() -> int:
    """This process's number among those of torch.distributed.run; 0 if it is alone."""
    return int(os.environ.get("RANK", 0))


@contextmanager
def to_stderr(chosen: str | None = None) -> Iterator[None]:
    """Tell on standard error what is logged while the block lasts.

    Ranks other than the first tell warnings and errors only, with their number before them.

    Args:
        chosen: One of `VERBOSITIES`, for child processes, too; None for what the environment says.

    Raises:
        ValueError: As `verbosity` does.
    """
    before = os.environ.get(VARIABLE)
    if chosen is not None:
        os.environ[VARIABLE] = chosen
    try:
        ours, others = VERBOSITIES[verbosity() if rank() == 0 else "quiet"]
        handler = _StderrHandler()
        handler.addFilter(_is_news)
        handler.setFormatter(_Formatter(rank()))
        with ExitStack() as held:
            if verbosity() != "verbose":
                held.enter_context(warnings.catch_warnings())
                for kind in _IGNORED_WARNINGS:
                    warnings.filterwarnings("ignore", **kind)
            held.enter_context(_levels({"": others, **dict.fromkeys(_OURS, ours)}))
            held.enter_context(_added(handler))
            yield
    finally:
        if chosen is not None:
            os.environ.pop(VARIABLE) if before is None else os.environ.update({VARIABLE: before})


@contextmanager
def unless_set_up() -> Iterator[None]:
    """`to_stderr`, unless the process already has a root handler: its own, or that of a command that is running."""
    if logging.getLogger().handlers:
        yield
        return
    with to_stderr():
        yield


@contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Write all that is logged to a file, LAVIS's news included; the terminal is told warnings alone, unless verbose.

    Args:
        path: The file; lines are added. Its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(message)s"))
    terminal = [other for other in logging.getLogger().handlers if isinstance(other, _StderrHandler)]
    try:
        with _levels({"": logging.INFO}), _added(handler):
            for other in terminal:
                other.setLevel(logging.NOTSET if verbosity() == "verbose" else logging.WARNING)
            yield
    finally:
        for other in terminal:
            other.setLevel(logging.NOTSET)
        handler.close()


@contextmanager
def _levels(levels: dict[str, int]) -> Iterator[None]:
    loggers = {logging.getLogger(name): level for name, level in levels.items()}
    before = {logger: logger.level for logger in loggers}
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


@contextmanager
def _added(handler: logging.Handler) -> Iterator[None]:
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _is_news(record: logging.LogRecord) -> bool:
    return record.msg != _NO_WARNING or verbosity() == "verbose"


class _StderrHandler(logging.StreamHandler):
    """Writes to what standard error is at the moment; a progress bar there makes room for the line."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        self.stream = sys.stderr
        with tqdm.external_write_mode(file=sys.stderr):
            super().emit(record)


class _Formatter(logging.Formatter):
    """ "12:03:04 message"; warnings and errors say that they are, and ranks other than the first which they are."""

    def __init__(self, rank: int):
        super().__init__("%(asctime)s %(prefix)s%(message)s", datefmt="%H:%M:%S")
        self._rank = f"rank {rank}: " if rank else ""

    def format(self, record: logging.LogRecord) -> str:
        marked = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        record.prefix = self._rank + marked
        return super().format(record)
