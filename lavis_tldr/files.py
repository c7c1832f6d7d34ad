"""Files written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# A temporary name begins so, and ends no stage's part: everything that lists a folder leaves these out.
TEMPORARY_PREFIX = ".tmp-"

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PROBE_BYTES = 2**20


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
        ValueError: If the block wrote no file, or there is no room for it.
    """
    with _temporary_beside(path) as temporary:
        yield temporary
        if not temporary.is_file():
            raise ValueError(f"nothing was written for {path}: write to the path that the with-block gives.")
        _sync(temporary)
        os.replace(temporary, path)
    _sync(path.parent)


@contextmanager
def open_whole(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """A file to write to, which becomes ``path`` once the block ends without error; its folder is made.

    Raises:
        ValueError: If there is no room for it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as temporary, open(temporary, "wb") as file:
        yield file


def create_whole(path: Path, text: str) -> bool:
    """Create a file with this text, whole; False, and nothing changed, where it exists already.

    Raises:
        ValueError: If there is no room for it.
    """
    with _temporary_beside(path) as temporary:
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


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """A new name in the same folder, gone when the block ends."""
    # Not the whole name: with something before it, it might be too long.
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}{path.suffix}")
    try:
        with explain_full_disk(path, temporary):
            yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def explain_full_disk(path: Path, written: Path | None = None) -> Iterator[None]:
    """Raise an error that says what to do, where the block ends with one because a disk is full.

    Args:
        path: The file that the block is to write.
        written: Under which temporary name it is written so far, if so. It may be written to once more, to see
            whether there is room.

    Raises:
        ValueError: If there is no room for the file: disk, quota or the limit on a file's size.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if (no_room := _no_room(error, written)) is None:
            raise
        limit = ", or raise the limit on a file's size (ulimit -f)" if no_room.errno == errno.EFBIG else ""
        left = shutil.disk_usage(path.parent).free / 2**20
        raise ValueError(
            f"cannot write {path}: {os.strerror(no_room.errno)} (its file system has {left:.1f} MiB left). "
            f"Free some space{limit} and run the same command again: finished parts are kept."
        ) from error


def _no_room(error: Exception, written: Path | None) -> OSError | None:
    """The error of a full disk, quota or file size limit, if that is why writing failed."""
    if isinstance(error, OSError) and error.errno is not None:
        return error if error.errno in _NO_ROOM else None
    # NumPy and PyTorch raise errors that no longer say why: see whether the file can still grow.
    try:
        if written is not None and written.is_file():
            with open(written, "ab") as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
    except OSError as found:
        return found if found.errno in _NO_ROOM else None
    return None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if path.is_file():  # some file systems can't sync a folder; a file's content must reach the disk
            raise
    finally:
        os.close(descriptor)
