"""Keys are identities: unique in a part by construction, checked over the source."""

from __future__ import annotations

from collections.abc import Iterable


class KeyRegister:
    """Gives each record a key that was not given before.

    The first record with a key has it; later ones become ``KEY~2``, ``KEY~3``, ... and are to be marked.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def claim(self, key: str) -> tuple[str, bool]:
        """``(unique key, whether `key` had been taken)``."""
        unique, count = key, 1
        while unique in self._seen:
            count += 1
            unique = f"{key}~{count}"
        self._seen.add(unique)
        return unique, count > 1


def check_unique_keys(keys_by_part: Iterable[tuple[str, Iterable[str]]]) -> int:
    """Check that no key occurs twice in a source. Holds all keys in memory.

    Args:
        keys_by_part: ``(part name, keys of that part)`` for each part.

    Returns:
        The number of keys.

    Raises:
        ValueError: If a key occurs twice; names it and both parts.
    """
    part_of: dict[str, str] = {}
    for part, keys in keys_by_part:
        for key in keys:
            if key in part_of:
                raise ValueError(
                    f"Key {key!r} occurs twice, in part {part_of[key]} and in part {part}. Keys are "
                    f"identities and must be unique in a source: set `key_prefix: true` in the source's "
                    f"config, which makes keys '<tar name>/<key>', or leave one of the two parts out."
                )
            part_of[key] = part
    return len(part_of)
