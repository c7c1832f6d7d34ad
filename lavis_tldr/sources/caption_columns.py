"""Captions with the paths of their images, held in Arrow columns, and the keys that they come to have.

An image with one caption has its path as key; one with several has ``PATH#0``, ``PATH#1``, ... in the order they came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lavis_tldr.reduction.label_runs import places_in_runs
from lavis_tldr.sources.keys import KeyRegister, clean_key

_BLOCK = 2**13  # pairs that are Python objects at once
_SCHEMA = pa.schema(
    [
        # As the file has it, unpaired surrogates and all; null where there is none.
        ("image", pa.dictionary(pa.int32(), pa.large_binary())),
        ("caption", pa.large_string()),
        ("error", pa.dictionary(pa.int32(), pa.large_string())),
        ("entry", pa.int32()),
        ("metadata", pa.string()),  # JSON; null where there is none
    ]
)
_NUMBERED = re.compile(r"(.*)~[0-9]+", re.DOTALL)  # a key as KeyRegister gives to one that was taken


class Pair(NamedTuple):
    """One caption with its image.

    Args:
        key: Identity of the pair, unique among all.
        image_key: What the pairs of one image share.
        image: Path as annotated, "" where there is none.
        caption: The caption, "" where there is none.
        error: Why the pair can't be used, "" if it can.
        metadata: JSON of what its entry tells of ``record.METADATA``, "" where that is nothing.
    """

    key: str
    image_key: str
    image: str
    caption: str
    error: str
    metadata: str


class CaptionColumns:
    """The pairs of some files; beside the text, some 35 bytes a pair."""

    def __init__(self, pairs: pa.Table, stems: list[str], stem_rows: np.ndarray) -> None:
        self._pairs = pairs
        self._stems, self._stem_rows = stems, stem_rows  # names of files, and the row at which each begins, (F,)
        self._numbers = _numbers(pairs["image"])
        self._renamed = _renamed(lambda: (pair.key for pair in self._wanted(0, len(self))), len(self))

    def __len__(self) -> int:
        return self._pairs.num_rows

    def pairs(self, start: int, stop: int) -> Iterator[Pair]:
        """The pairs of the rows from ``start`` up to ``stop``."""
        for row, pair in enumerate(self._wanted(start, stop), start):
            if row in self._renamed:
                yield pair._replace(key=self._renamed[row], error=pair.error or f"doubled key: {pair.key}")
            else:
                yield pair

    def _wanted(self, start: int, stop: int) -> Iterator[Pair]:
        """The pairs with the keys they would have if no other pair had those."""
        row = start
        for batch in self._pairs.slice(start, stop - start).to_batches(_BLOCK):
            images = batch["image"].dictionary_decode().to_pylist()
            columns = (batch["caption"], batch["error"].dictionary_decode(), batch["entry"], batch["metadata"])
            numbers = self._numbers[row : row + len(batch)].tolist()
            files = np.searchsorted(self._stem_rows, np.arange(row, row + len(batch)), side="right") - 1
            values = zip(images, *(column.to_pylist() for column in columns), numbers, files.tolist(), strict=True)
            for found, caption, error, entry, metadata, number, file in values:
                image = "" if found is None else found.decode("utf-8", "surrogatepass")
                # An entry without an image is named by its place, so that the ledger can point at it.
                image_key = clean_key(image) or f"{self._stems[file]}[{entry}]"
                key = image_key if number < 0 else f"{image_key}#{number}"
                yield Pair(key, image_key, image, caption, error, metadata or "")
            row += len(batch)


class CaptionColumnsBuilder:
    """Collects captions file by file, and makes `CaptionColumns` of them."""

    def __init__(self) -> None:
        self._blocks: list[pa.RecordBatch] = []
        self._held: list[tuple[bytes | None, str, str, int, str | None]] = []  # of what is not in a block yet
        self._stems: list[str] = []
        self._stem_rows: list[int] = []
        self._num_rows = 0

    def __len__(self) -> int:
        """Captions added so far."""
        return self._num_rows

    def start_file(self, name: str) -> None:
        """Begin a file; what has no image is named after it."""
        self._stems.append(name)
        self._stem_rows.append(len(self))

    def add(self, image: str, caption: str, error: str, entry: int, metadata: Mapping[str, str | int]) -> None:
        """A caption of the file begun last.

        Args:
            image: Path of its image as annotated, "" where there is none.
            caption: Valid Unicode.
            error: Why it can't be used, "" if it can.
            entry: The number in its file of the entry that it is from.
            metadata: What the entry tells of ``record.METADATA``.
        """
        told = json.dumps(metadata) if metadata else None
        self._held.append((image.encode("utf-8", "surrogatepass") or None, caption, error, entry, told))
        self._num_rows += 1
        if len(self._held) == _BLOCK:
            self._close_block()

    def build(self) -> CaptionColumns:
        """The columns of all that was added; the builder is empty afterwards."""
        self._close_block()
        # One dictionary for all blocks: an image has one number in all of them, and its path is there once.
        pairs = pa.Table.from_batches(self._blocks, _SCHEMA).unify_dictionaries()
        self._blocks = []
        pa.default_memory_pool().release_unused()
        return CaptionColumns(pairs, self._stems, np.array(self._stem_rows))

    def _close_block(self) -> None:
        if self._held:
            images, captions, errors, entries, metadata = zip(*self._held, strict=True)
            columns = [
                pa.array(images, pa.large_binary()).dictionary_encode(),
                pa.array(captions, pa.large_string()),
                pa.array(errors, pa.large_string()).dictionary_encode(),
                pa.array(entries, pa.int32()),
                pa.array(metadata, pa.string()),
            ]
            self._blocks.append(pa.RecordBatch.from_arrays(columns, schema=_SCHEMA))
            self._held = []


def _numbers(images: pa.ChunkedArray) -> np.ndarray:
    """Which caption of its image each is, (N,) int32: from 0, in the order of the rows; -1 for an image's only one.

    Args:
        images: (N,), with one dictionary for all chunks.
    """
    ids = np.concatenate([chunk.indices.fill_null(-1).to_numpy() for chunk in images.chunks])  # (N,)
    numbers = np.full(len(ids), -1, np.int32)
    counts = np.bincount(ids + 1)  # by id + 1
    counts[0] = 0  # what has no image is not numbered
    rows = np.flatnonzero(counts[ids + 1] > 1)  # (M,)
    if not len(rows):
        return numbers
    rows = rows[np.argsort(ids[rows], kind="stable")]
    numbers[rows] = places_in_runs(ids[rows])
    return numbers


def _renamed(keys: Callable[[], Iterator[str]], num_keys: int) -> dict[int, str]:
    """What the keys that came before, or were given to such a one, become, by row.

    As if all keys went through one `KeyRegister`; but that only sees those that can meet: the ones with equal hashes,
    and ``KEY~2`` and the like of them. Of the others no more than the hash is held.

    Args:
        keys: Gives all keys in order, whenever it is called: once if all hashes differ.
        num_keys: How many.
    """
    hashes = np.fromiter(map(hash, keys()), np.int64, num_keys)
    in_order = np.sort(hashes)
    repeated = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
    if not len(repeated):
        return {}
    suspect = np.isin(hashes, repeated)
    suspects = {key for key, is_one in zip(keys(), suspect, strict=True) if is_one}
    register, renamed = KeyRegister(), {}
    for row, key in enumerate(keys()):
        if _descends(key, suspects):
            given, taken = register.claim(key)
            if taken:
                renamed[row] = given
    return renamed


def _descends(key: str, roots: set[str]) -> bool:
    """Whether a key is one of these, or one with ``~NUMBER`` after it, once or more."""
    while key not in roots:
        found = _NUMBERED.fullmatch(key)
        if not found:
            return False
        key = found[1]
    return True
