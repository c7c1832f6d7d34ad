"""How the samples of a set stand in their clusters, in bounded memory (for `select`).

Each part's samples are written by group of clusters; a group is read across all parts, its samples take their places
and are written by part again (`lavis_tldr.runs.regroup`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.files import write_whole
from lavis_tldr.models.collectives import from_rank_zero
from lavis_tldr.reduction.criteria import rank_bits
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.prefilter import cut_of_all, passes_cut, passes_in_clusters
from lavis_tldr.reduction.selection import SelectionRule
from lavis_tldr.reduction.standing import NUM_TIERS, Standing, is_kept, tier_sizes
from lavis_tldr.reduction.words import count_words
from lavis_tldr.runs.regroup import plan_groups, read_bin, read_bins, write_bins
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import CENTROIDS, SIZES, SPREADS, STAGES
from lavis_tldr.stages import cluster, encode
from lavis_tldr.stages.concepts import ConceptCap, ranks_of
from lavis_tldr.stages.context import Context, share_missing
from lavis_tldr.stages.measures import Measures, scores_of
from lavis_tldr.stages.twins import COLUMNS, Twins

# Samples held at once: codes or features, to tell near duplicates by, take several times the room of all else.
_ROWS, _ROWS_TO_COMPARE = 2**19, {"histogram": 2**17, "feature": 2**15}
_FILTER, _LONG_ENOUGH, CAPPED = ["filter_bits", "priority"], "long_enough", "capped"
# Of the rows by part: whether a copy is its sample's first, and the sample's place among samples.
IS_FIRST, SAMPLE_PLACE = "is_first", "sample_place"


@dataclass(frozen=True)
class Groups:
    """Clusters in groups, and the files in which samples lie by group.

    Attributes:
        folder: Of these files.
        sizes: Of the clusters, (C,).
        of_cluster: Group of each cluster, (C,).
        number: How many there are.
    """

    folder: Path
    sizes: np.ndarray
    of_cluster: np.ndarray
    number: int

    @classmethod
    def plan(cls, context: Context, stage: Stage) -> "Groups":
        config, sizes = context.config, cluster.load_array(context, SIZES)
        rows = _ROWS if config.duplicate_threshold is None else _ROWS_TO_COMPARE[config.duplicate_by]
        # A repeated sample takes the room of its copies.
        of_cluster = plan_groups(sizes, rows // config.max_repeats)
        number = int(of_cluster.max()) + 1
        # Left by another version, files of another number of groups would be misread.
        return cls(stage.scratch / f"copies_of_{number}", sizes, of_cluster, number)

    def by_cluster(self, part_name: str) -> Path:
        return self.folder / f"part-{part_name}.arrow"

    def by_clusters(self, context: Context) -> list[Path]:
        return [self.by_cluster(name) for name in context.part_names]

    def by_part(self, group: int) -> Path:
        return self.folder / f"group-{group}.arrow"


def write_by_cluster(context: Context, stage: Stage, groups: Groups) -> None:
    """For each part its samples, with all that decides how they stand, by group of clusters."""
    config, measures = context.config, Measures(context)
    cap = None
    if config.concept_cap:
        cap = ConceptCap.find(context, stage, groups.folder, measures, int(groups.sizes.sum()))
    for name in share_missing(context.part_names, groups.by_cluster):
        found = measures(name)
        table = found.select(["key", "cluster", "alignment"])
        table = table.append_column("score", pa.array(scores_of(found, config.selection)))
        table = table.append_column("row", pa.array(np.arange(len(table), dtype=np.int32)))
        if config.min_words:
            captions = encode.load_usable(context, name, ["caption_original"])["caption_original"]
            table = table.append_column(_LONG_ENOUGH, pa.array(count_words(captions) >= config.min_words))
        if cap:
            table = table.append_column(CAPPED, cap.left_out(name, *ranks_of(found, context)))
        if config.prefilter:
            found_bits = rank_bits(scores_of(found, config.prefilter))
            priority = draw_priority(table["key"].to_pylist(), config.seed)
            for column, values in zip(_FILTER, (found_bits, priority), strict=True):
                table = table.append_column(column, pa.array(values))
        if config.duplicate_threshold is not None:
            column = COLUMNS[config.duplicate_by]
            compared = context.load_part(context.stage("encode"), name, [column])
            table = table.append_column(column, compared[column].drop_null())
        with write_whole(groups.by_cluster(name)) as path:
            write_bins(table, groups.of_cluster[table["cluster"].to_numpy()], groups.number, path)


def rule_of(context: Context, groups: Groups) -> SelectionRule:
    """The rule of the run's selection; to be asked by all processes, once the samples lie by cluster."""
    paths = groups.by_clusters(context)
    return from_rank_zero(
        lambda: SelectionRule.of(
            STAGES["select"].settings_of(context.config),
            context.config.num_clusters,
            of_clusters=lambda: [cluster.load_array(context, name) for name in (SIZES, SPREADS, CENTROIDS)],
            scores=lambda: (read_bins(path, ["score"])["score"].to_numpy() for path in paths),
        )
    )


def take_places(context: Context, groups: Groups, rule: SelectionRule) -> None:
    """For each group of clusters how its samples stand, by part: a row for each copy, a sample's copies together."""
    config = context.config
    paths = groups.by_clusters(context)
    passing = _passing(context, groups) if config.prefilter else None
    twins_of = None if config.duplicate_threshold is None else Twins(context)
    kept_columns = ["row", "cluster", "alignment", "score", "part", *([CAPPED] if config.concept_cap else [])]
    for number in share_missing(list(range(groups.number)), groups.by_part):
        tables = [read_bin([path], number) for path in paths]
        part = np.repeat(np.arange(len(tables)), [table.num_rows for table in tables])
        table = pa.concat_tables(tables).append_column("part", pa.array(part, pa.int32())).sort_by("key")
        passed = np.ones(len(table), bool) if passing is None else passing(table)
        if config.min_words:
            passed &= table[_LONG_ENOUGH].to_numpy()
        if config.concept_cap:
            passed &= pc.equal(table[CAPPED], "").to_numpy()
        duplicate_of = np.full(len(table), "", object)
        if twins_of is not None:
            duplicate_of[passed] = twins_of(table.filter(pa.array(passed)))
        found = rule.stand(
            table["key"].to_pylist(),
            table["cluster"].to_numpy(),
            score=table["score"].to_numpy(),
            passed=passed,
            duplicate_of=duplicate_of,
        )
        placed = table.select(kept_columns).append_column("duplicate_of", pa.array(duplicate_of, pa.string()))
        placed = placed.append_column(SAMPLE_PLACE, pa.array(found.standing.place)).take(pa.array(found.rows))
        is_first = pa.array(np.diff(found.rows, prepend=-1) > 0)
        for column, values in {IS_FIRST: is_first, **vars(found.copies)}.items():
            placed = placed.append_column(column, pa.array(values))
        placed = placed.sort_by([("part", "ascending"), ("row", "ascending")])
        with write_whole(groups.by_part(number)) as path:
            write_bins(placed, placed["part"].to_numpy(), len(paths), path)


def _passing(context: Context, groups: Groups) -> Callable[[pa.Table], np.ndarray]:
    """What tells which samples of whole clusters pass the prefilter, (N,), bool; to be asked by all processes."""
    share, paths = context.config.prefilter_share, groups.by_clusters(context)
    if context.config.prefilter_scope == "cluster":

        def of_cluster(table: pa.Table) -> np.ndarray:
            return passes_in_clusters(*_arrays(table, ["cluster", *_FILTER]), share)

        return of_cluster

    def cut() -> tuple[int, int]:
        num_samples = int(groups.sizes.sum())
        return cut_of_all(lambda: (_arrays(read_bins(path, _FILTER), _FILTER) for path in paths), num_samples, share)

    found = from_rank_zero(cut)
    return lambda table: passes_cut(*_arrays(table, _FILTER), found)


def _arrays(table: pa.Table, columns: list[str]) -> list[np.ndarray]:
    return [table[name].to_numpy() for name in columns]


@dataclass(frozen=True)
class Counts:
    """How many there are of each tier and cluster, (T, C) each.

    Attributes:
        sizes: Samples.
        kept: Samples that are kept.
        kept_copies: Copies of samples that are kept; each sample has one, unless ``run.max_repeats`` gives it more.
    """

    sizes: np.ndarray
    kept: np.ndarray
    kept_copies: np.ndarray


def count(groups: Groups, rule: SelectionRule) -> Counts:
    """How many samples there are and how many are kept."""
    num_clusters = len(groups.of_cluster)

    def all_copies() -> Iterator[tuple[np.ndarray, np.ndarray, Standing]]:
        for group in range(groups.number):
            columns = [IS_FIRST, "cluster", "tier", "place", "bits", "priority"]
            is_first, clusters, *standing = _arrays(read_bins(groups.by_part(group), columns), columns)
            yield is_first, clusters, Standing(*standing)

    copies = np.zeros((NUM_TIERS, num_clusters), np.int64)
    sizes, kept = np.zeros_like(copies), np.zeros_like(copies)
    for is_first, clusters, standing in all_copies():
        copies += tier_sizes(clusters, standing.tier, num_clusters)
        sizes += tier_sizes(clusters[is_first], standing.tier[is_first], num_clusters)
    blocks = lambda: ((clusters, standing) for _, clusters, standing in all_copies())  # noqa: E731
    kept_copies = rule.count(copies, blocks, num_samples=int(sizes.sum()))
    if rule.soft_cap.max_repeats == 1:
        return Counts(sizes, kept_copies, kept_copies)
    for is_first, clusters, standing in all_copies():
        rows = is_first & is_kept(clusters, standing.tier, standing.place, kept_copies)
        kept += tier_sizes(clusters[rows], standing.tier[rows], num_clusters)
    return Counts(sizes, kept, kept_copies)
