"""Chance by key: what is drawn depends on a sample's key and the seed alone, not on order, parts or processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np


def draw_priority(keys: Sequence[str], seed: int) -> np.ndarray:
    """A random number for each key, (N,), uint64, from the key and the seed only; lower is drawn first."""
    base = hashlib.blake2b(digest_size=8, key=str(int(seed)).encode())
    priority = np.empty(len(keys), dtype=np.uint64)
    for row, key in enumerate(keys):
        digest = base.copy()
        digest.update(str(key).encode("utf-8", "surrogatepass"))
        priority[row] = int.from_bytes(digest.digest(), "little")
    return priority


def draw_rows(blocks: Iterable[Sequence[str]], size: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """A random sample of at most ``size`` of all keys, in memory that does not grow with their number.

    Args:
        blocks: The keys, block by block; in any order.
        size: Of the sample.
        seed: Of the draw.

    Returns:
        Block and row in it of each drawn key, (n,), int64, and the keys themselves, in order of key.
    """
    drawn = [np.zeros(0, np.uint64), np.zeros(0, object), np.zeros(0, np.int64), np.zeros(0, np.int64)]
    worst = np.uint64(2**64 - 1)
    for number, keys in enumerate(blocks):
        priority = draw_priority(keys, seed)
        rows = np.flatnonzero(priority <= worst)
        found = priority[rows], np.array(keys, object)[rows], np.full(len(rows), number), rows
        drawn = [np.concatenate(pair) for pair in zip(drawn, found, strict=True)]
        if len(drawn[0]) > 2 * size:
            drawn = _lowest(drawn, size)
            worst = drawn[0][-1]
    _, keys, blocks_of, rows = _lowest(drawn, size)
    by_key = np.argsort(keys, kind="stable")
    return blocks_of[by_key], rows[by_key], keys[by_key].tolist()


def _lowest(drawn: list[np.ndarray], size: int) -> list[np.ndarray]:
    """The ``size`` rows of lowest priority, then key."""
    by_key = np.argsort(drawn[1], kind="stable")
    order = by_key[np.argsort(drawn[0][by_key], kind="stable")][:size]
    return [column[order] for column in drawn]


def draw_one(key: str, number: int, *, epoch: int, seed: int) -> int:
    """Which of ``number`` things is a key's in an epoch: drawn anew for each epoch, the same wherever it is asked."""
    return int(draw_priority([f"{epoch}/{key}"], seed)[0] % np.uint64(number))
