"""No key twice in a source, in bounded memory whatever the number of keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lavis_tldr.files import TEMPORARY_PREFIX, explain_full_disk

_CHUNK = 2**16  # keys hashed at once
_SPILL = 2**21  # hashes held before they go to the bucket files
_BUCKET_BITS = 10  # 1024 buckets: of 4 billion keys, 4 million each
_SUSPECTS = 2**16  # hashes whose keys are compared at once

KeysByPart = Iterable[tuple[str, Iterable[str]]]


def check_unique_keys(keys_by_part: Callable[[], KeysByPart], scratch: str | os.PathLike | None = None) -> int:
    """Check that no key occurs twice in a source.

    The keys' hashes are spilled to files, 8 bytes each, and looked through a bucket at a time; only keys behind an
    equal hash are compared.

    Args:
        keys_by_part: Gives ``(part name, keys of that part)`` for each part, in the same order whenever it is called:
            a second time where hashes are equal.
        scratch: Folder for a temporary folder with the hashes; None: the system's.

    Returns:
        The number of keys.

    Raises:
        ValueError: If a key occurs twice; names it and both parts. Also if there is no room in ``scratch``.
    """
    with TemporaryDirectory(prefix=f"{TEMPORARY_PREFIX}keys-", dir=scratch) as folder:
        hashes = _Hashes(Path(folder))
        for _, keys in keys_by_part():
            for _, found in _hashed(keys):
                hashes.add(found)
        for suspects in hashes.repeated():
            # All of them may be there twice: a few are enough to find a key.
            for start in range(0, len(suspects), _SUSPECTS):
                _compare(keys_by_part(), suspects[start : start + _SUSPECTS])
        return hashes.count


class _Hashes:
    """64-bit hashes in files by their first bits."""

    def __init__(self, folder: Path) -> None:
        self.count = 0
        self._folder = folder
        self._held: list[np.ndarray] = []
        self._num_held = 0

    def add(self, hashes: np.ndarray) -> None:
        self.count += len(hashes)
        self._held.append(hashes)
        self._num_held += len(hashes)
        if self._num_held >= _SPILL:
            self._spill()

    def repeated(self) -> Iterator[np.ndarray]:
        """The hashes that occur more than once, sorted, by bucket."""
        if self.count > self._num_held:
            self._spill()
            for path in sorted(self._folder.iterdir()):
                yield _repeated(np.fromfile(path, np.uint64))
        elif self._held:
            yield _repeated(np.concatenate(self._held))

    def _spill(self) -> None:
        if not self._held:
            return
        hashes = np.concatenate(self._held)
        self._held, self._num_held = [], 0
        hashes.sort()
        buckets = hashes >> np.uint64(64 - _BUCKET_BITS)
        ends = np.searchsorted(buckets, np.arange(2**_BUCKET_BITS, dtype=np.uint64), side="right")
        start = 0
        for bucket, end in enumerate(ends.tolist()):
            if start < end:
                path = self._folder / f"{bucket:04d}"
                with explain_full_disk(path), open(path, "ab") as file:
                    file.write(hashes[start:end].tobytes())
            start = end


def _hashed(keys: Iterable[str]) -> Iterator[tuple[list[str], np.ndarray]]:
    """The keys with their hashes, uint64, some at a time. Equal within this process only."""
    keys = iter(keys)
    while chunk := list(islice(keys, _CHUNK)):
        yield chunk, np.fromiter(map(hash, chunk), np.int64, len(chunk)).view(np.uint64)


def _repeated(hashes: np.ndarray) -> np.ndarray:
    hashes.sort()
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


def _compare(keys_by_part: KeysByPart, suspects: np.ndarray) -> None:
    """Raise an error if a key with one of these hashes occurs twice."""
    part_of: dict[str, str] = {}
    for part, keys in keys_by_part:
        for chunk, hashes in _hashed(keys):
            for i in np.flatnonzero(np.isin(hashes, suspects)).tolist():
                key = chunk[i]
                if key in part_of:
                    raise ValueError(
                        f"Key {key!r} occurs twice, in part {part_of[key]} and in part {part}. Keys are "
                        f"identities and must be unique in a source: set `key_prefix: true` in the source's "
                        f"config, which makes keys '<tar name>/<key>', or leave one of the two parts out."
                    )
                part_of[key] = part
