"""What a stage's manifest compares: configs as JSON, changes named key by key, one digest of it all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

ABSENT = "(absent)"


def normalise(value: Any) -> Any:
    """``value`` as JSON gives it back: tuples are lists, paths strings, NumPy's numbers plain ones.

    Raises:
        ValueError: If it holds something that JSON can't say.
    """
    try:
        return json.loads(json.dumps(value, default=_plain))
    except TypeError as error:
        raise ValueError(
            f"a manifest holds plain JSON only ({error}): turn such values into text or numbers."
        ) from error


def changes(old: dict, new: dict) -> list[str]:
    """A line ``key: old -> new`` for each leaf in which two normalised dicts differ, nested keys dotted."""
    old_leaves, new_leaves = _leaves(old), _leaves(new)
    lines = []
    for key in sorted(old_leaves.keys() | new_leaves.keys()):
        before, after = old_leaves.get(key, ABSENT), new_leaves.get(key, ABSENT)
        if not _same(before, after):
            lines.append(f"{key}: {_show(before)} -> {_show(after)}")
    return lines


def digest_of(value: Any) -> str:
    """BLAKE2b digest of a normalised value, 32 hexadecimal digits; the order of keys doesn't matter."""
    return hashlib.blake2b(_canonical(value).encode(), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")


def _leaves(tree: dict, prefix: str = "") -> dict[str, Any]:
    leaves = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            leaves.update(_leaves(value, f"{name}."))
        else:
            leaves[name] = value
    return leaves


def _same(before: Any, after: Any) -> bool:
    # As text, so that NaN equals NaN and True differs from 1; 1 and 1.0 are one number.
    return _canonical(before) == _canonical(after) or (_is_number(before) and _is_number(after) and before == after)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _show(value: Any) -> str:
    return ABSENT if value == ABSENT else _canonical(value)
