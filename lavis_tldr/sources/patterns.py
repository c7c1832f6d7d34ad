"""File patterns: paths, globs and braces, as WebDataset users write them."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterable

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expand_braces(pattern: str) -> list[str]:
    """``a{00..02}`` to ``a00 a01 a02`` and ``a{x,y}`` to ``ax ay``; several braces give all combinations.

    A range is padded to the width of its first number, and may count down. Braces with neither a range nor a
    comma stand for themselves.
    """
    pieces: list[list[str]] = []
    end = 0
    for match in _BRACES.finditer(pattern):
        pieces.append([pattern[end : match.start()]])
        pieces.append(_alternatives(match.group(1)) or [match.group(0)])
        end = match.end()
    pieces.append([pattern[end:]])
    return ["".join(choice) for choice in itertools.product(*pieces)]


def _alternatives(inside: str) -> list[str]:
    if bounds := _RANGE.fullmatch(inside):
        first, last = int(bounds[1]), int(bounds[2])
        step = 1 if first <= last else -1
        return [str(number).zfill(len(bounds[1])) for number in range(first, last + step, step)]
    return inside.split(",") if "," in inside else []


def find_files(patterns: str | Iterable[str], what: str) -> list[str]:
    """Absolute paths of the files that patterns name.

    Each pattern's files come in the order of its braces and, for a glob, sorted. A file named by several
    patterns comes once.

    Args:
        patterns: A path, glob or brace pattern, or several.
        what: What the files are, for messages (``"tars"``).

    Raises:
        ValueError: If a pattern matches nothing, or a file it names does not exist.
    """
    found: dict[str, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else list(patterns):
        for path in _files_of(os.path.expanduser(str(pattern)), what):
            found.setdefault(os.path.abspath(path))
    if not found:
        raise ValueError(
            f"No {what}: the list of patterns is empty. Give a path, a glob or a {{00000..00007}} pattern."
        )
    return list(found)


def _files_of(pattern: str, what: str) -> list[str]:
    if os.path.isfile(pattern):
        return [pattern]
    files: list[str] = []
    missing: list[str] = []
    for name in expand_braces(pattern):
        if os.path.isfile(name):
            files.append(name)
        elif matches := sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path)):
            files.extend(matches)
        else:
            missing.append(name)
    if missing:
        folder = os.path.dirname(missing[0]) or "."
        state = "exists" if os.path.isdir(folder) else "does not exist"
        raise ValueError(
            f"No {what} at {missing[0]!r} ({len(missing)} of the paths in {pattern!r} match no file; the "
            f"folder {folder!r} {state}). Check the path, or leave the missing ones out of the pattern."
        )
    return files
