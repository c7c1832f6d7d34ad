"""Digests of source files' content, whole or sampled, and whether the files stay as they were."""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import blake2b

FULL_DIGEST_BYTES = 256 * 2**20
NUM_SAMPLED_BLOCKS = 64
BLOCK_BYTES = 2**16
_REMEDY = "Leave the source as it is while it is read, and run the same command again."


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
