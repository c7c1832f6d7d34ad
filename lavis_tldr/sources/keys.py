"""Keys are identities: made safe to store, and unique in a part by construction."""

from __future__ import annotations

import re

# Of ASCII and beyond: all that a reader of lines takes for an end of line.
_CONTROLS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")


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


def clean_key(key: str) -> str:
    r"""Key as valid Unicode in one line, for lists with a key a line.

    Control characters and bytes that are not UTF-8 are spelled out (``\n``, ``\udc80``), so keys stay distinct.
    """
    key = _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), key)
    return key.encode("utf-8", errors="backslashreplace").decode("utf-8")
