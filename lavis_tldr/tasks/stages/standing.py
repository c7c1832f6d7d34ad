"""How the samples of a set stand in their clusters, in bounded memory (for `select`).

Each part's samples are written by group of clusters; a group is read across all parts, its samples take their places
and are written by part again (`lavis_tldr.reduction.regroup`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lavis_tldr.files import write_whole
from lavis_tldr.reduction.code_tables import rows_of
from lavis_tldr.reduction.duplicates import find_near_duplicates
from lavis_tldr.reduction.regroup import plan_groups, read_bin, read_bins, write_bins
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.reduction.selection import Standing, count_kept, stand, tier_sizes
from lavis_tldr.reduction.tables import join_by_key
from lavis_tldr.tasks.alignment import BOTH, COLUMNS, Moments, combine_scores
from lavis_tldr.tasks.stages import cluster, encode, score
from lavis_tldr.tasks.stages.context import Context, share_missing
from lavis_tldr.tasks.stages.representer import Representer

_ROWS, _ROWS_WITH_CODES = 2**19, 2**17  # samples held at once


@dataclass(frozen=True)
class Groups:
    """Clusters in groups, and the files in which samples lie by group.

    Attributes:
        folder: Of these files.
        of_cluster: Group of each cluster, (C,).
        number: How many there are.
    """

    folder: Path
    of_cluster: np.ndarray
    number: int

    @classmethod
    def plan(cls, context: Context, stage: Stage, sizes: np.ndarray) -> "Groups":
        # Codes, to tell near duplicates by, take several times the room of all else.
        with_codes = context.config.duplicate_threshold is not None
        of_cluster = plan_groups(sizes, _ROWS_WITH_CODES if with_codes else _ROWS)
        number = int(of_cluster.max()) + 1
        # Left by another version, files of another number of groups would be misread.
        return cls(stage.scratch / f"of_{number}", of_cluster, number)

    def by_cluster(self, part_name: str) -> Path:
        return self.folder / f"part-{part_name}.arrow"

    def by_part(self, group: int) -> Path:
        return self.folder / f"group-{group}.arrow"


def write_by_cluster(context: Context, groups: Groups) -> None:
    """For each part its samples, with their alignment (and codes, to compare), by group of clusters."""
    source, clustered = encode.stage_of(context), cluster.stage_of(context)
    aligned = context.config.needs_scores
    moments = _moments(context) if aligned and context.config.alignment == "both" else {}
    for name in share_missing(context.part_names, groups.by_cluster):
        table = context.load_part(clustered, name, ["key", "cluster"])
        alignment = _alignment(context, name, table, moments) if aligned else np.full(len(table), np.nan, np.float32)
        table = table.append_column("alignment", pa.array(alignment, pa.float32()))
        table = table.append_column("row", pa.array(np.arange(len(table), dtype=np.int32)))
        if context.config.duplicate_threshold is not None:
            codes = context.load_part(source, name, ["codes"])["codes"].drop_null()
            table = table.append_column("codes", codes)
        with write_whole(groups.by_cluster(name)) as path:
            write_bins(table, groups.of_cluster[table["cluster"].to_numpy()], groups.number, path)


def _alignment(context: Context, part_name: str, table: pa.Table, moments: dict[str, Moments]) -> np.ndarray:
    names = COLUMNS[context.config.alignment]
    scores = context.load_part(score.stage_of(context), part_name, ["key", *names])
    joined = join_by_key(table.select(["key"]), scores, left_name="cluster", right_name="score")
    columns = {name: joined[name].to_numpy() for name in names}
    return combine_scores(columns, context.config.alignment, moments)


def _moments(context: Context) -> dict[str, Moments]:
    """Of the scores that are standardized before they are added up."""
    stage = score.stage_of(context)

    def of(name: str) -> Moments:
        return Moments.over(lambda: (table[name].to_numpy() for table in context.load_parts(stage, [name])))

    return {name: of(name) for name in BOTH}


def take_places(context: Context, groups: Groups) -> None:
    """For each group of clusters how its samples stand, by part."""
    paths = [groups.by_cluster(name) for name in context.part_names]
    threshold = context.config.duplicate_threshold
    represented = None if threshold is None else Representer(context, encode.statistics(context), "histogram")
    for number in share_missing(list(range(groups.number)), groups.by_part):
        tables = [read_bin([path], number) for path in paths]
        part = np.repeat(np.arange(len(tables)), [table.num_rows for table in tables])
        table = pa.concat_tables(tables).append_column("part", pa.array(part, pa.int32())).sort_by("key")
        keys, cluster_ids = table["key"].to_pylist(), table["cluster"].to_numpy()
        alignment = table["alignment"].to_numpy()
        # The draw decides where the selection does not go by scores, though the captions may.
        ranked_by = alignment if context.config.selection == "aligned" else None
        twins = None
        if represented is not None:
            codes = rows_of(table["codes"], context.model.num_patches, np.uint16)
            twins = _near_duplicates(represented, threshold, keys, codes, cluster_ids, alignment)
        standing = stand(keys, cluster_ids, seed=context.config.seed, alignment=ranked_by, duplicate_of=twins)
        placed = pa.table(
            {
                "row": table["row"],
                "cluster": cluster_ids,
                "alignment": alignment,
                "duplicate_of": pa.array(twins if twins is not None else [""] * len(keys), pa.string()),
                "part": table["part"],
                **vars(standing),
            }
        ).sort_by([("part", "ascending"), ("row", "ascending")])
        with write_whole(groups.by_part(number)) as path:
            write_bins(placed, placed["part"].to_numpy(), len(paths), path)


def _near_duplicates(
    represented: Representer,
    threshold: float,
    keys: list[str],
    codes: np.ndarray,
    cluster_ids: np.ndarray,
    alignment: np.ndarray,
) -> np.ndarray:
    """The better twin of each sample, or "", (N,).

    Twins are told by which codes they share, whatever is clustered. Pairs of one image are twins, too: the caption
    that fits best stays.
    """
    duplicate_of = np.full(len(keys), "", dtype=object)
    names = np.array(keys, dtype=object)
    # Cluster by cluster: the histograms of a large group would not fit in memory.
    by_cluster = np.argsort(cluster_ids, kind="stable")
    ends = np.flatnonzero(np.diff(cluster_ids[by_cluster])) + 1
    for rows in np.split(by_cluster, ends):
        duplicate_of[rows] = find_near_duplicates(
            represented(codes[rows]), cluster_ids[rows], threshold, alignment[rows], names[rows]
        )
    return duplicate_of


def count(context: Context, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and kept numbers of all tiers and clusters, (T, C) each."""
    config = context.config
    num_clusters = len(groups.of_cluster)

    def blocks() -> Iterator[tuple[np.ndarray, Standing]]:
        for group in range(groups.number):
            table = read_bins(groups.by_part(group), ["cluster", "tier", "place", "score", "priority"])
            clusters, *standing = (column.to_numpy() for column in table.columns)
            yield clusters, Standing(*standing)

    sizes, num_samples = np.zeros((2, num_clusters), np.int64), 0
    for clusters, standing in blocks():
        sizes += tier_sizes(clusters, standing.tier, num_clusters)
        num_samples += len(clusters)
    balance = config.balance if config.selection == "aligned" else 1.0
    return sizes, count_kept(sizes, num_samples, config.keep_ratio, balance=balance, blocks=blocks)
