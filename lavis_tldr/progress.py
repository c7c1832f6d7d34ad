"""How far a loop has come: a bar on a terminal, else a line every half minute."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")
logger = logging.getLogger(__name__)

INTERVAL = 30.0  # seconds between two lines
_WORTH_TELLING = 10.0  # seconds; of a loop that was shorter there is nothing to say


def progress(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterator[T]:
    """The items, telling how many have been taken; nothing where news of this package is not told (quiet, other ranks).

    Args:
        items: To go through.
        what: What is done with them, such as a stage's name.
        unit: What one of them is called, a regular noun.
        total: How many there are, where ``items`` does not say.
    """
    total = len(items) if total is None else total
    if not total or not logger.isEnabledFor(logging.INFO):
        return iter(items)
    if sys.stderr.isatty():
        from tqdm import tqdm

        return iter(tqdm(items, desc=what, unit=unit, total=total))
    return _in_lines(items, what, unit, total, time.monotonic)


def _in_lines(items: Iterable[T], what: str, unit: str, total: int, clock: Callable[[], float]) -> Iterator[T]:
    started = told = clock()
    done = 0
    for item in items:
        yield item
        done += 1
        now = clock()
        if now - told >= INTERVAL and done < total:
            left = (now - started) / done * (total - done)
            logger.info("%s: %s, about %s left", what, _state(done, total, unit, now - started), _rounded(left))
            told = now
    seconds = clock() - started
    if seconds >= _WORTH_TELLING:
        logger.info("%s: %s, in %s", what, _state(done, total, unit, seconds), _rounded(seconds))


def _state(done: int, total: int, unit: str, seconds: float) -> str:
    rate = done / max(seconds, 1e-9)
    pace = f"{rate:,.1f} a second" if rate >= 1 else f"{1 / rate:,.1f} s each"
    plural = f"{unit}es" if unit.endswith(("ch", "s")) else f"{unit}s"
    return f"{done:,} of {total:,} {plural}, {pace}"


def _rounded(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))
