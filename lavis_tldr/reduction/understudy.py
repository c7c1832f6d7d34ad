"""Understudies: dropped samples that step in for kept ones whose image is lost, in their cluster's order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def apply(selection: pa.Table, replaced: Mapping[str, str], repeats: Mapping[str, int] | None = None) -> pa.Table:
    """A part's selection with lost samples dropped and their stand-ins kept.

    A stand-in is kept as often as the lost sample was, so that the set keeps its size and its cluster its share.

    Args:
        selection: With key, kept and understudy, and repeats where samples may be kept more than once.
        replaced: Key of each lost sample, and of its stand-in or "".
        repeats: With repeats: how often each lost sample was kept, in whatever part it is; 0 or absent for one that
            stood in itself.

    Returns:
        The same rows; a stand-in is an understudy no more.
    """
    lost = pc.is_in(selection["key"], pa.array(list(replaced), pa.string()))
    steps_in = pc.is_in(selection["key"], pa.array([key for key in replaced.values() if key], pa.string()))
    kept = pc.and_(pc.or_(selection["kept"], steps_in), pc.invert(lost))
    rank = pc.if_else(pc.or_(steps_in, lost), pa.scalar(0, pa.int32()), selection["understudy"])
    columns = {"kept": kept, "understudy": rank}
    if "repeats" in selection.column_names:
        taken_over = _taken_over(replaced, repeats or {})
        pairs = zip(selection["key"].to_pylist(), selection["repeats"].to_pylist(), strict=True)
        found = [0 if key in replaced else taken_over.get(key, own) for key, own in pairs]
        columns["repeats"] = pa.array(found, pa.int32())
    for name, column in columns.items():
        selection = selection.set_column(selection.column_names.index(name), name, column)
    return selection


def _taken_over(replaced: Mapping[str, str], repeats: Mapping[str, int]) -> dict[str, int]:
    """How often each stand-in is kept: as the first of those whose place it has come to take was."""
    found = {}
    for lost in replaced:
        if number := repeats.get(lost):
            stand_in = lost
            while stand_in := replaced.get(stand_in, ""):
                found[stand_in] = number
    return found


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
