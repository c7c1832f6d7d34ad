"""Understudies: dropped samples that step in for kept ones whose image is lost, in their cluster's order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def apply(selection: pa.Table, replaced: Mapping[str, str]) -> pa.Table:
    """A part's selection with lost samples dropped and their stand-ins kept.

    Args:
        selection: With key, kept and understudy.
        replaced: Key of each lost sample, and of its stand-in or "".

    Returns:
        The same rows; a stand-in is an understudy no more.
    """
    lost = pc.is_in(selection["key"], pa.array(list(replaced), pa.string()))
    steps_in = pc.is_in(selection["key"], pa.array([key for key in replaced.values() if key], pa.string()))
    kept = pc.and_(pc.or_(selection["kept"], steps_in), pc.invert(lost))
    rank = pc.if_else(pc.or_(steps_in, lost), pa.scalar(0, pa.int32()), selection["understudy"])
    for name, column in (("kept", kept), ("understudy", rank)):
        selection = selection.set_column(selection.column_names.index(name), name, column)
    return selection


def replace_lost(
    lost: Mapping[str, int],
    ranked: Callable[[np.ndarray, int, int], Iterable[tuple[int, int, str]]],
    is_there: Callable[[str], bool],
    num_gaps: int = 0,
) -> tuple[dict[str, str], list[str]]:
    """Name a stand-in for each lost sample: the next of its cluster whose image is there.

    Lost samples of a cluster are served in order of key, so that the result does not depend on the order in which they
    were found.

    Args:
        lost: Key and cluster of the samples.
        ranked: Understudies of some clusters with a rank above the second and up to the third argument, as
            (cluster, rank, key), in any order.
        is_there: Whether an understudy's image can be read.
        num_gaps: How many ranks may be missing, since their samples have stepped in before.

    Returns:
        Stand-in of each lost sample, "" where its cluster has none left; and the understudies that are lost themselves.
    """
    waiting: dict[int, list[str]] = {}
    for key in sorted(lost):
        waiting.setdefault(lost[key], []).append(key)
    replaced: dict[str, str] = {}
    passed_over: list[str] = []
    seen = 0
    while waiting:
        # As far as does if all are there; further in the next round if some are not.
        reach = seen + num_gaps + max(len(keys) for keys in waiting.values())
        found = sorted(ranked(np.array(sorted(waiting)), seen, reach))
        for cluster, _, key in found:
            if not waiting[cluster]:
                continue
            if is_there(key):
                replaced[waiting[cluster].pop(0)] = key
            else:
                passed_over.append(key)
        exhausted = set(waiting) - {cluster for cluster, _, _ in found}
        for cluster in exhausted:
            replaced |= dict.fromkeys(waiting[cluster], "")
        waiting = {cluster: keys for cluster, keys in waiting.items() if keys and cluster not in exhausted}
        seen = reach
    return replaced, passed_over
