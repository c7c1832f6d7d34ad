"""Names of a source's parts, and how long they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence


def part_names(stems: Sequence[str]) -> list[str]:
    """File-system-safe names of parts, distinct whatever a file system makes of capitals.

    The files' own names where they are distinct, else numbered: adding a file then renames no other part.
    """
    safe = [re.sub(r"[^A-Za-z0-9_-]", "_", stem) for stem in stems]
    count = Counter(stem.lower() for stem in safe)
    taken = {stem for stem, times in count.items() if times == 1}
    names = []
    for index, stem in enumerate(safe):
        name = stem
        if count[stem.lower()] > 1:
            name = f"{index:05d}_{stem}"
            while name.lower() in taken:  # a file that is called so
                name += "_"
            taken.add(name.lower())
        names.append(name)
    return names


def check_part_size(part_size: int) -> int:
    """The size given, if it is one.

    Raises:
        ValueError: If it is no whole number of at least 1.
    """
    if isinstance(part_size, bool) or not isinstance(part_size, int) or part_size < 1:
        raise ValueError(f"part_size is {part_size!r}; give a whole number of at least 1 (10000 suits most).")
    return part_size
