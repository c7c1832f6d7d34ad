"""Keys are identities: unique in a part by construction."""

from __future__ import annotations


class KeyRegister:
    """Gives each record a key that was not given before.

    The first record with a key has it; later ones become ``KEY~2``, ``KEY~3``, ... and are to be marked.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._last: dict[str, int] = {}  # number given last, of keys that came again

    def claim(self, key: str) -> tuple[str, bool]:
        """``(unique key, whether `key` had been taken)``."""
        if key not in self._seen:
            self._seen.add(key)
            return key, False
        count = self._last.get(key, 1) + 1
        while (unique := f"{key}~{count}") in self._seen:
            count += 1
        self._last[key] = count
        self._seen.add(unique)
        return unique, True
