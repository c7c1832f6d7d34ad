"""Where one sample stands among those of its cluster, or of the whole set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.reduction.criteria import CRITERIA, score_by
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.report.key_lookup import open_parquet
from lavis_tldr.runs.outcomes import FILTERED, NEAR_DUPLICATE

_RANKED = ("alignment", "score")
_OUTCOME = ("key", "cluster", "kept", "reason", "filtered", "duplicate_of")
_COLUMNS = (*_OUTCOME, "distance", "prototype_distance", *_RANKED)


def cluster_standing(paths: Sequence[Path], row: dict, prefilter: str = "") -> dict:
    """Stream a ledger, a selection or the clusters, and say where one sample stands in its cluster.

    Args:
        paths: The table's parts.
        row: The sample's, with ``key``, ``cluster``, ``distance`` and what else is known of it.
        prefilter: The criterion that samples were filtered by before.

    Returns:
        - ``size`` of the cluster and ``distance_rank``, 1 the nearest
        - with a ledger or a selection ``kept``: how many of the cluster, and of the others ``num_filtered`` and
          ``num_repeats`` (near duplicates)
        - likewise ``alignment`` and ``score`` where the sample has one: ``rank``, 1 the best, ``of`` those that are
          neither filtered nor near duplicates, and ``lowest_kept`` among them, None where none is
        - likewise ``filter`` where the table tells by what was filtered: ``rank``, 1 the best, ``of`` all
    """
    standing = {"size": 0, "distance_rank": 1}
    for members in _rows(paths, row["cluster"]):
        standing["size"] += members.num_rows
        standing["distance_rank"] += int((members["distance"].to_numpy() < row["distance"]).sum())
        if "kept" in members.column_names:
            _add_outcome(standing, members, row)
            _add_filter(standing, members, row, prefilter)
    return standing


def draw_standing(paths: Sequence[Path], row: dict, seed: int, *, in_cluster: bool) -> dict:
    """Stream a ledger or a selection, and say when one sample is drawn.

    Args:
        paths: The table's parts.
        row: The sample's, with ``key`` and ``cluster``.
        seed: Of the draw.
        in_cluster: Whether it is drawn from its cluster, or from all.

    Returns:
        ``rank``, 1 the first drawn, ``of`` those that can be drawn, being neither filtered nor near duplicates, and how
        many are ``kept``.
    """
    found = {"rank": 1, "of": 0, "kept": 0}
    own = draw_priority([row["key"]], seed)
    for rows in _rows(paths, row["cluster"] if in_cluster else None, _OUTCOME):
        filtered, repeats = _left_out(rows, row["key"])
        drawn = rows.filter(pa.array(~(filtered | repeats)))
        found["rank"] += int((draw_priority(drawn["key"].to_pylist(), seed) < own).sum())
        found["of"] += drawn.num_rows
        found["kept"] += int(drawn["kept"].to_numpy().sum())
    return found


def count_kept(paths: Sequence[Path], cluster: int) -> int:
    """How many samples of a cluster a selection keeps."""
    return sum(int(members["kept"].to_numpy().sum()) for members in _rows(paths, cluster, ("cluster", "kept")))


def _add_outcome(standing: dict, members: pa.Table, row: dict) -> None:
    kept = members["kept"].to_numpy()
    filtered, repeats = _left_out(members, row["key"])
    for name, flags in (("kept", kept), ("num_filtered", filtered), ("num_repeats", repeats)):
        standing[name] = standing.get(name, 0) + int(flags.sum())
    for name in _RANKED:
        if name in members.column_names and not math.isnan(row.get(name, math.nan)):
            rank = standing.setdefault(name, {"rank": 1, "of": 0, "lowest_kept": None})
            values = members[name].to_numpy()
            ranked = ~np.isnan(values) & ~filtered & ~repeats
            rank["rank"] += int((values[ranked] > row[name]).sum())
            rank["of"] += int(ranked.sum())
            lowest = [] if rank["lowest_kept"] is None else [rank["lowest_kept"]]
            rank["lowest_kept"] = min([*values[ranked & kept].tolist(), *lowest], default=None)


def _add_filter(standing: dict, members: pa.Table, row: dict, prefilter: str) -> None:
    column = CRITERIA[prefilter].column if prefilter else ""
    if column in members.column_names and not math.isnan(row.get(column, math.nan)):
        rank = standing.setdefault("filter", {"rank": 1, "of": 0})
        scores = score_by(prefilter, members[column].to_numpy())
        rank["rank"] += int((scores > score_by(prefilter, row[column])).sum())
        rank["of"] += len(scores)


def _left_out(rows: pa.Table, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Which samples other than one were filtered, and which are near duplicates, (n,), bool."""
    others = pc.not_equal(rows["key"], key).to_numpy()
    if "reason" in rows.column_names:
        flags = (pc.starts_with(rows["reason"], beginning) for beginning in (FILTERED, NEAR_DUPLICATE))
    else:
        flags = rows["filtered"], pc.not_equal(rows["duplicate_of"], "")
    filtered, repeats = (column.to_numpy() & others for column in flags)
    return filtered, repeats


def _rows(paths: Sequence[Path], cluster: int | None, columns: Sequence[str] = _COLUMNS) -> Iterator[pa.Table]:
    """The rows of a cluster, or of all, row group by row group, so that memory does not grow with the set."""
    for path in paths:
        with open_parquet(path) as file:
            wanted = [name for name in columns if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=wanted)
                yield table if cluster is None else table.filter(pc.equal(table["cluster"], cluster))
