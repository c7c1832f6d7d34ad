"""Predictions go with a set's truths by id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

_NAMED = 3  # of many ids


def check_ids(found: Iterable[Hashable], expected: Iterable[Hashable], what: str) -> None:
    """Refuse predictions that are not one for each of a set's ids.

    Args:
        found: Ids of the predictions.
        expected: Ids of the set.
        what: An id's name in messages, such as ``question_id``.

    Raises:
        ValueError: Naming ids that are doubled on either side, missing, or of no such set; or if the set is empty.
    """
    given, wanted = Counter(found), Counter(expected)
    if not wanted:
        raise ValueError(f"the set is empty: it has no {what}.")
    faults = {
        f"the set holds a doubled {what}": [one for one, count in wanted.items() if count > 1],
        f"predictions hold a doubled {what}": [one for one, count in given.items() if count > 1],
        f"no prediction for {what}": [one for one in wanted if one not in given],
        f"predictions hold an unknown {what}": [one for one in given if one not in wanted],
    }
    told = [f"{fault} ({len(ids)}: {_some(ids)})" for fault, ids in faults.items() if ids]
    if told:
        raise ValueError(f"{'; '.join(told)}. Predict each of the set's {len(wanted)} once.")


def _some(ids: list) -> str:
    return ", ".join(map(str, ids[:_NAMED])) + (", ..." if len(ids) > _NAMED else "")
