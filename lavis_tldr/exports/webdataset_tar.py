"""WebDataset tars of kept pairs: ``KEY.jpg`` (original bytes, suffix by content), ``KEY.json``, ``KEY.txt``."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from lavis_tldr.exports.formats import PartWriter
from lavis_tldr.exports.images import safe_name
from lavis_tldr.exports.pairs import Pair

_FIELDS = ("key", "caption", "caption_original", "caption_generated", "caption_from", "cluster", "alignment")
_MAX_BASE = 200  # bytes of a member's base name without suffix


def write_tar(pairs: Iterable[Pair], path: Path, further: Sequence[str] = ()) -> int:
    """Write pairs as a WebDataset tar; the same pairs give the same bytes.

    ``.txt`` holds the caption, ``.json`` the key as it is in the ledger, all captions, cluster, alignment and the
    further columns (null where there is none).

    Returns:
        The number of pairs.
    """
    count = 0
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for pair in pairs:
            stem = member_stem(pair.row["key"])
            fields = json.dumps({name: pair.row[name] for name in (*_FIELDS, *further)}, allow_nan=False)
            _add(tar, stem + pair.suffix, pair.image)
            _add(tar, f"{stem}.json", fields.encode())
            _add(tar, f"{stem}.txt", pair.row["caption"].encode())
            count += 1
    return count


def member_stem(key: str) -> str:
    """The key as WebDataset can have it for ``__key__``; distinct keys stay distinct.

    It is :func:`safe_name`, and besides a dot in the base name is ``%2E``, since WebDataset takes the first
    one for the suffix's, and a ``__`` in front begins ``%5F``, since it passes over such names. A base name
    that gets longer than 200 bytes is cut and ends in a hash.
    """
    folder, slash, base = safe_name(key).rpartition("/")
    base = base.replace(".", "%2E")
    if len(base) > _MAX_BASE:
        base = base[: _MAX_BASE - 34] + "%-" + blake2b(base.encode(), digest_size=16).hexdigest()
    stem = folder + slash + base
    return f"%5F{stem[1:]}" if stem.startswith("__") else stem


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # no owner, and the time 0
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


WRITER = PartWriter(".tar", write_tar)
