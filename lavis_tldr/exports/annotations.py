"""Writers of the reduced set: LAVIS annotation lists and the kept images' files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

from lavis_tldr.files import open_whole
from lavis_tldr.sources.images import FILE_SUFFIXES, image_suffix, read_image_bytes
from lavis_tldr.sources.record import ImageLocation

_MAX_NAME = 180  # bytes in one path component; file systems allow 255


def write_annotations(path: str | os.PathLike, rows: Iterable[Mapping]) -> int:
    """Write a LAVIS annotation list, one entry a line, whole or not at all.

    The file is ASCII (other characters escaped), because LAVIS opens it in the locale's encoding.

    Args:
        path: The JSON file; its folder is made.
        rows: Entries, e.g. ``{"image": ..., "caption": ...}``.

    Returns:
        The number of entries.

    Raises:
        ValueError: If an entry holds NaN or infinity, which JSON has no word for.
    """
    return write_entries(path, map(entry_text, rows))


def entry_text(row: Mapping) -> str:
    """An entry of an annotation list as one line of ASCII JSON, without the line's end.

    Raises:
        ValueError: If it holds NaN or infinity, which JSON has no word for.
    """
    return json.dumps(dict(row), allow_nan=False)


def write_entries(path: str | os.PathLike, entries: Iterable[str]) -> int:
    """As :func:`write_annotations`, of entries that are text already, as :func:`entry_text` gives it."""
    count = 0
    with open_whole(path) as file:
        file.write(b"[")
        for entry in entries:
            file.write((",\n" if count else "\n").encode() + entry.encode("ascii"))
            count += 1
        file.write(b"\n]\n")
    return count


@dataclass
class ExportedImages:
    """What :func:`export_images` did.

    Args:
        files: Path under the output folder, with ``/``, by image key.
        errors: Why an image could not be written, by image key.
        num_written: Files written now.
        num_skipped: Files that were there already, whole.
    """

    files: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    num_written: int = 0
    num_skipped: int = 0


def export_images(images: Iterable[tuple[str, ImageLocation]], out_dir: str | os.PathLike) -> ExportedImages:
    """Write images' original bytes as ``<out_dir>/<KEY>.jpg``, each whole or not at all.

    The suffix follows the content (``.png`` for a PNG); a key that has it already gets no second one. Folders
    in keys are kept; what could leave ``out_dir`` or trouble a file system is escaped by :func:`safe_name`.

    Args:
        images: ``(image_key, location)``; a key that comes again is skipped.
        out_dir: Output folder, made if missing.

    Returns:
        Files by key, and errors of images that are gone: those are for the ledger and end nothing.

    Raises:
        ValueError: If a folder inside ``out_dir`` is a link that leads out of it.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    root = out_dir.resolve()
    done = ExportedImages()
    taken: set[str] = set()
    for image_key, location in images:
        if image_key in done.files or image_key in done.errors:
            continue
        try:
            data = read_image_bytes(location)
        except ValueError as error:
            done.errors[image_key] = str(error)
            continue
        name = _file_name(image_key, image_suffix(data), taken)
        target = out_dir / name
        if root not in (real := target.parent.resolve()).parents and real != root:
            raise ValueError(
                f"{target.parent} leads out of {out_dir} to {real}: remove that link, or export elsewhere."
            )
        if target.is_file() and not target.is_symlink() and target.read_bytes() == data:
            done.num_skipped += 1
        else:
            with open_whole(target) as file:
                file.write(data)
            done.num_written += 1
        taken.add(name)
        done.files[image_key] = name
    return done


def find_exported(folder: str | os.PathLike, image_key: str) -> str:
    """Name of the file in a folder that :func:`export_images` wrote an image to, "" if there is none."""
    name = safe_name(image_key)
    names = (name, *(name + suffix for suffix in FILE_SUFFIXES))
    return next((found for found in names if (Path(folder) / found).is_file()), "")


def safe_name(key: str) -> str:
    """Relative path for a key that stays inside its folder on any file system; distinct keys stay distinct.

    ASCII letters, digits and ``_ - . ~ # = + , @`` stay; other characters become ``%XX`` of their UTF-8
    bytes, and so does a dot that begins a component (``..`` becomes ``%2E.``). An empty component (of
    ``/a`` or ``a//b``) becomes ``%_``; one longer than 180 bytes is cut and ends in a hash.
    """
    return "/".join(_safe_component(component) for component in key.split("/"))


def _safe_component(component: str) -> str:
    safe = quote(component, safe="-_.~#=+,@", errors="surrogatepass") or "%_"
    if safe.startswith("."):
        safe = "%2E" + safe[1:]
    if len(safe) > _MAX_NAME:
        safe = safe[: _MAX_NAME - 34] + "%-" + blake2b(safe.encode(), digest_size=16).hexdigest()
    return safe


def _file_name(key: str, suffix: str, taken: set[str]) -> str:
    name = safe_name(key)
    _, own = os.path.splitext(name)
    fits = own.lower() == suffix or (suffix == ".jpg" and own.lower() == ".jpeg")
    candidate = name if fits else name + suffix
    while candidate in taken:  # Keys "a" and "a.jpg" of two JPEGs.
        candidate += suffix
    return candidate
