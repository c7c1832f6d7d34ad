"""A plain tar from front to back by its headers, whatever the web put into it."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from lavis_tldr.sources.images import MAX_BYTES

_BLOCK = 512  # bytes


@dataclass(frozen=True)
class Member:
    """A tar's member, all but a folder.

    Args:
        name: Its path.
        offset: First byte of its data in the tar.
        size: Number of bytes.
        refused: Why the data can't be taken from there; empty if it can.
        data: The bytes, None where refused or not asked for.
    """

    name: str
    offset: int
    size: int
    refused: str
    data: bytes | None


class TarWalk:
    """Iterates over a tar's members; a tar that breaks off ends early, with ``failure`` saying why.

    Data that is not asked for is passed over, not read. Links are never followed.

    Args:
        path: The tar, not compressed.
        wants: Whether to read the data of the member with this name.
    """

    def __init__(self, path: str, wants: Callable[[str], bool]) -> None:
        self._path, self._wants = path, wants
        self.failure = ""

    def __iter__(self) -> Iterator[Member]:
        try:
            # No buffer: it would read on into the data.
            with open(self._path, "rb", buffering=0) as file:
                yield from self._members(file)
        except (tarfile.TarError, OSError) as error:
            self.failure = str(error) or type(error).__name__

    def _members(self, file: IO[bytes]) -> Iterator[Member]:
        size = os.fstat(file.fileno()).st_size
        end = 0
        with _guarded(tarfile.open, fileobj=file, mode="r:") as tar:
            # Python 3.10's tarfile fails when it is asked for the next member of a tar that has none.
            is_empty = tar.firstmember is None
            while not is_empty and (info := _guarded(tar.next)) is not None:
                tar.members = []  # tarfile would keep them all
                if info.size < 0 or tar.offset <= end:
                    raise tarfile.ReadError(f"{info.name!r} claims to end before it begins")
                end = tar.offset
                refused = _refusal(info)
                if info.isreg() and not info.issparse() and info.offset_data + info.size > size:
                    raise _cut_off(info, size - info.offset_data)
                if not info.isdir():
                    wanted = not refused and self._wants(info.name)
                    data = _read(file, info) if wanted else None
                    yield Member(info.name, info.offset_data, info.size, refused, data)
                _guarded(file.seek, end)  # else tarfile reads the last byte before it, to see that it is there
        # The tarfile module takes a damaged header for the end of the archive.
        file.seek(end)
        if file.read(_BLOCK) != bytes(_BLOCK):
            self.failure = f"no end-of-archive mark where the members end, at byte {end}"


def _read(file: IO[bytes], info: tarfile.TarInfo) -> bytes:
    file.seek(info.offset_data)
    data = bytearray()
    while len(data) < info.size:
        if not (more := file.read(info.size - len(data))):
            raise _cut_off(info, len(data))
        data += more
    return bytes(data)


def _cut_off(info: tarfile.TarInfo, num_bytes: int) -> tarfile.ReadError:
    return tarfile.ReadError(f"{info.name!r} has {max(num_bytes, 0)} of {info.size} bytes")


def _refusal(info: tarfile.TarInfo) -> str:
    if info.islnk() or info.issym():
        return "a link in the tar"
    if info.issparse():  # its data does not lie in one piece
        return "a sparse file in the tar"
    if not info.isreg():
        return "no plain file in the tar"
    return f"more than {MAX_BYTES} bytes" if info.size > MAX_BYTES else ""


def _guarded(step: Callable, *args: Any, **options: Any) -> Any:
    """``step()``; on damaged headers tarfile raises nearly anything (ValueError, RecursionError, ...)."""
    try:
        return step(*args, **options)
    except (tarfile.TarError, OSError):
        raise
    except Exception as error:
        raise tarfile.ReadError(f"damaged header: {error or type(error).__name__}") from error
