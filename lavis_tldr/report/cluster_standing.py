"""Where one sample stands among those of its cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.outcome import NEAR_DUPLICATE

from .key_lookup import open_parquet

_COLUMNS = ("key", "cluster", "distance", "alignment", "kept", "reason", "duplicate_of")


def cluster_standing(paths: Sequence[Path], row: dict, draw_seed: int | None = None) -> dict:
    """Stream a ledger, a selection or the clusters, and say where one sample stands in its cluster.

    Args:
        paths: The table's parts.
        row: The sample's, with ``key``, ``cluster``, ``distance`` and, where it has one, ``alignment``.
        draw_seed: The seed of a uniform draw, to tell the sample's number in it.

    Returns:
        ``size`` of the cluster and ``distance_rank``, 1 the nearest. With a ledger or a selection also ``kept``: how
        many of the cluster; with a seed ``draw_rank``, 1 the first drawn. For a sample with an alignment
        ``alignment_rank``, 1 the best, of ``num_ranked``, which leaves out the ``num_repeats`` near duplicates of
        others, and ``lowest_kept``: the lowest alignment that is kept, None where none is.
    """
    standing = {"size": 0, "distance_rank": 1}
    for members in _members(paths, row["cluster"]):
        standing["size"] += members.num_rows
        standing["distance_rank"] += int((members["distance"].to_numpy() < row["distance"]).sum())
        if draw_seed is not None:
            keys = members["key"].to_pylist()
            first = draw_priority(keys, draw_seed) < draw_priority([row["key"]], draw_seed)
            standing["draw_rank"] = standing.get("draw_rank", 1) + int(first.sum())
        if "kept" in members.column_names:
            standing["kept"] = standing.get("kept", 0) + int(members["kept"].to_numpy().sum())
            if not math.isnan(row.get("alignment", math.nan)):
                _add_ranks(standing, members, row)
    return standing


def count_kept(paths: Sequence[Path], cluster: int) -> int:
    """How many samples of a cluster a selection keeps."""
    return sum(int(members["kept"].to_numpy().sum()) for members in _members(paths, cluster, ("cluster", "kept")))


def _add_ranks(standing: dict, members: pa.Table, row: dict) -> None:
    alignment, kept = members["alignment"].to_numpy(), members["kept"].to_numpy()
    others = pc.not_equal(members["key"], row["key"]).to_numpy()
    repeats = _repeats(members) & others
    ranked = ~np.isnan(alignment) & ~repeats
    scores = alignment[ranked & kept].tolist()
    if standing.get("lowest_kept") is not None:
        scores.append(standing["lowest_kept"])
    standing["lowest_kept"] = min(scores, default=None)
    standing["num_repeats"] = standing.get("num_repeats", 0) + int(repeats.sum())
    standing["num_ranked"] = standing.get("num_ranked", 0) + int(ranked.sum())
    standing["alignment_rank"] = standing.get("alignment_rank", 1) + int((alignment[ranked] > row["alignment"]).sum())


def _repeats(members: pa.Table) -> np.ndarray:
    """True for near duplicates of others."""
    if "reason" in members.column_names:
        return pc.starts_with(members["reason"], NEAR_DUPLICATE).to_numpy()
    return pc.not_equal(members["duplicate_of"], "").to_numpy()


def _members(paths: Sequence[Path], cluster: int, columns: Sequence[str] = _COLUMNS) -> Iterator[pa.Table]:
    """The cluster's rows, row group by row group, so that memory does not grow with the set."""
    for path in paths:
        with open_parquet(path) as file:
            wanted = [name for name in columns if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=wanted)
                yield table.filter(pc.equal(table["cluster"], cluster))
