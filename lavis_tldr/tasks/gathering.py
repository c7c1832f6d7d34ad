"""What the ranks have found, each of its share of a set, put together."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from lavis_tldr.models.collectives import from_all_ranks

K = TypeVar("K")
V = TypeVar("V")


def merge_ranks(found: Mapping[K, V]) -> dict[K, V]:
    """What all ranks found by key, on each of them, in order of the keys.

    Where a key is there twice, the first rank's stays: a sampler may have padded the ranks' shares.
    """
    merged: dict[K, V] = {}
    for part in from_all_ranks(found):
        for key, value in part.items():
            merged.setdefault(key, value)
    return {key: merged[key] for key in sorted(merged)}


def gather_by_key(rows: Iterable[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    """The rows of all ranks, on each of them, in order of what they hold under ``key``, and one of each."""
    own: dict = {}
    for row in rows:
        own.setdefault(row[key], row)
    return list(merge_ranks(own).values())
