"""An image's encoded bytes, read from where they lie, and whether they are still there."""

from __future__ import annotations

import os
import tarfile

import pyarrow as pa

from lavis_tldr.sources.images import decode_image
from lavis_tldr.sources.record import ImageLocation
from lavis_tldr.sources.table_images import check_row, read_image

_BLOCK = tarfile.BLOCKSIZE  # a member's header is the block before its data
_NAME_BYTES = tarfile.LENGTH_NAME


def read_image_bytes(location: ImageLocation) -> bytes:
    """Encoded bytes of an image, from its own file, from inside a tar or from a row of a Parquet table.

    Raises:
        ChangedTableError: If the table has another image there, or none.
        ValueError: If the file is gone, cannot be read or is shorter than ``location`` says.
    """
    try:
        if location.column:
            return read_image(location.file, location.column, location.offset, location.size)
        with open(location.path, "rb") as file:
            if location.offset < 0:
                return file.read()
            file.seek(location.offset)
            data = file.read(location.size)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"Cannot read the image in {location.file}: {getattr(error, 'strerror', None) or error}. Put the source "
            f"back where it was when it was encoded, or encode it anew."
        ) from error
    if len(data) != location.size:
        raise ValueError(
            f"{location.path} has {os.path.getsize(location.path)} bytes, but an image was recorded at "
            f"{location.offset} to {location.offset + location.size}: the file changed since. Encode it anew."
        )
    return data


def image_problem(location: ImageLocation, image_key: str, *, decode: bool = False) -> str:
    """Why an image can't be had any more; "" if it can.

    Args:
        location: Where it was.
        image_key: What it was called there.
        decode: Also read and decode it; else only its file, size and, in a tar, header are looked at, and of a Parquet
            table the footer.
    """
    try:
        size = os.path.getsize(location.file) if os.path.isfile(location.file) else 0
        if not size:
            return f"{location.file} is gone or empty"
        if location.column:
            check_row(location.file, location.column, location.offset)
        elif location.offset >= 0:
            if size < location.offset + location.size:
                return f"{location.path} is shorter than it was"
            if found := other_member(location, image_key):
                return f"{location.path} has {found!r} in its place: the tar has changed"
        if decode:
            decode_image(read_image_bytes(location))
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def other_member(location: ImageLocation, *names: str) -> str:
    """What a tar has at a place if it is none of the members that are expected there, else "".

    A tar that was packed anew has other members at the old offsets, and they may be readable images too: every caption
    would then go with a wrong image, silently.

    Args:
        location: Of an image in a tar.
        names: Keys or file names; folders and all after the first dot of a name don't count.

    Raises:
        OSError: If the tar can't be read.
    """
    with open(location.path, "rb") as tar:
        tar.seek(max(location.offset - _BLOCK, 0))
        header = tar.read(_BLOCK)
    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return "another member's data"
    if member.size != location.size:
        return member.name
    if b"\0" not in header[:_NAME_BYTES] or not member.name.isascii():
        return ""  # cut off here, or spelled otherwise in the key
    return "" if _stem(member.name) in map(_stem, names) else member.name


def _stem(name: str) -> str:
    """WebDataset's idea of a key, without its folder: up to the first dot."""
    return name.rpartition("/")[2].partition(".")[0]
