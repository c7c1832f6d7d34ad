"""A source's files: found by patterns, named as parts, and whether they stay as they were."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b

FULL_DIGEST_BYTES = 256 * 2**20
NUM_SAMPLED_BLOCKS = 64
BLOCK_BYTES = 2**16
_REMEDY = "Leave the source as it is while it is read, and run the same command again."
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


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


def part_names(stems: Sequence[str]) -> list[str]:
    """File-system-safe names of parts, distinct whatever a file system makes of capitals.

    The files' own names where they are distinct, else numbered: adding a file then renames no other part.
    """
    safe = [re.sub(r"[^A-Za-z0-9_-]", "_", stem) for stem in stems]
    count = Counter(stem.lower() for stem in safe)
    taken = {stem for stem, times in count.items() if times == 1}
    names = []
    for index, stem in enumerate(safe):
        name = stem
        if count[stem.lower()] > 1:
            name = f"{index:05d}_{stem}"
            while name.lower() in taken:  # a file that is called so
                name += "_"
            taken.add(name.lower())
        names.append(name)
    return names


def check_part_size(part_size: int) -> int:
    """The size given, if it is one.

    Raises:
        ValueError: If it is no whole number of at least 1.
    """
    if isinstance(part_size, bool) or not isinstance(part_size, int) or part_size < 1:
        raise ValueError(f"part_size is {part_size!r}; give a whole number of at least 1 (10000 suits most).")
    return part_size


def content_digest(path: str, *, full_bytes: int = FULL_DIGEST_BYTES) -> str:
    """Digest of a file's content and size.

    A file of at most ``full_bytes`` is read whole. Of a larger one, 64 blocks of 64 KiB are read, evenly
    spaced from its first to its last byte, so that thousands of tars are checked in minutes: a change that
    moves content or size is seen, a change of a few bytes in place may not be.

    Args:
        path: The file.
        full_bytes: Largest size read whole, in bytes.

    Returns:
        32 hexadecimal digits.
    """
    size = os.path.getsize(path)
    digest = blake2b(str(size).encode(), digest_size=16)
    with open(path, "rb") as file:
        if size <= full_bytes:
            while block := file.read(2**20):
                digest.update(block)
        else:
            last = max(size - BLOCK_BYTES, 0)
            for i in range(NUM_SAMPLED_BLOCKS):
                file.seek(last * i // (NUM_SAMPLED_BLOCKS - 1))
                digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()


class SourceFiles:
    """A source's files as they were when it was built, with their digests once asked for."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._stamps = {path: _stamp(path) for path in paths}
        self._digests: dict[str, str] = {}

    def digest(self, path: str) -> str:
        """:func:`content_digest` of one of the files, taken once.

        Raises:
            ValueError: If the file has changed since the source was built.
        """
        if path not in self._digests:
            self.check_unchanged(path)
            found = content_digest(path)
            self.check_unchanged(path)
            self._digests[path] = found
        return self._digests[path]

    def check_unchanged(self, path: str) -> None:
        """Compare a file's size and time of change with what they were.

        Raises:
            ValueError: If they differ, or the file is gone; names it.
        """
        try:
            now = _stamp(path)
        except OSError as error:
            raise ValueError(f"{path} was there when this run began, but now: {error.strerror}. {_REMEDY}") from error
        before = self._stamps[path]
        if now != before:
            how = f"from {before[0]} to {now[0]} bytes" if now[0] != before[0] else "its time of change is another"
            raise ValueError(f"{path} has changed since this run began ({how}). {_REMEDY}")


def _stamp(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns
