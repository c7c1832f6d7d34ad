"""The keys that a dataset's config may have: those of its packaged default."""

from collections.abc import Iterable
from difflib import get_close_matches


def check_dataset_keys(name: str, given: Iterable[str], default: Iterable[str]) -> None:
    """Refuse a key that LAVIS would pass over.

    Args:
        name: The dataset's.
        given: Keys of its config.
        default: Keys of its packaged default.

    Raises:
        ValueError: Naming the unknown key and the known ones closest to it.
    """
    known = {*default, "type"}
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"unknown key datasets.{name}.{key}; known are {', '.join(sorted(known))}{hint}")
