"""Files written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A temporary name never ends a stage's part: everything that lists a folder leaves these out.
TEMPORARY_PREFIX = ".tmp-"


def file_digest(path: Path | str) -> str:
    """BLAKE2b digest of a file's content, 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to, renamed to ``path`` once the block ends without error.

    The suffix stays, for writers that add one of their own. Writers of the same file may run at once: each
    has its own temporary name, and the last rename wins.

    Raises:
        ValueError: If the block wrote no file.
    """
    temporary = _temporary_beside(path)
    try:
        yield temporary
        if not temporary.is_file():
            raise ValueError(f"nothing was written for {path}: write to the path that the with-block gives.")
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def create_whole(path: Path, text: str) -> bool:
    """Create a file with this text, whole; False, and nothing changed, where it exists already."""
    temporary = _temporary_beside(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        _sync(temporary)
        try:
            os.link(temporary, path)  # fails if the path exists, unlike a rename
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            if path.exists():
                return False
            os.replace(temporary, path)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_beside(path: Path) -> Path:
    # Unlike the name, what is written never depends on host, process or chance.
    token = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    return path.with_name(f"{TEMPORARY_PREFIX}{token}-{path.name}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if path.is_file():  # some file systems can't sync a folder; a file's content must reach the disk
            raise
    finally:
        os.close(descriptor)
