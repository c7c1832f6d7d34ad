"""What every keep ratio of a finished set keeps, computed anew from its ledger by the rule of its selection.

Shapes: N usable samples, C clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.advice.finished import FinishedSet
from lavis_tldr.reduction.selection import SelectionRule, Standings
from lavis_tldr.reduction.standing import Standing
from lavis_tldr.runs.outcomes import FILTERED, KEPT, LOST, NEAR_DUPLICATE
from lavis_tldr.runs.regroup import plan_groups
from lavis_tldr.runs.stages import CENTROIDS, REPEATS, SIZES, SPREADS

COLUMNS = ("key", "cluster", "score", "reason")
_STANDING = tuple(field.name for field in fields(Standing))
_GROUP_ROWS = 2**19  # samples whose keys are held at once


@dataclass(frozen=True)
class Candidates:
    """Usable samples as a selection knows them, sorted by key.

    Attributes:
        keys: (N,).
        cluster_ids: (N,).
        score: (N,), float32, higher is kept first; NaN where the draw decides.
        passed: (N,), False for near duplicates and for what the prefilter left out, which no ratio keeps.
    """

    keys: np.ndarray
    cluster_ids: np.ndarray
    score: np.ndarray
    passed: np.ndarray

    @classmethod
    def of(cls, table: pa.Table) -> Candidates:
        """From ledger rows with ``COLUMNS``."""
        reason = table["reason"]
        left_out = pc.or_(pc.starts_with(reason, NEAR_DUPLICATE), pc.starts_with(reason, FILTERED))
        return cls(
            np.array(table["key"].to_pylist(), object),
            table["cluster"].to_numpy(),
            table["score"].to_numpy(),
            pc.invert(left_out).to_numpy(),
        )

    def take(self, rows: np.ndarray) -> Candidates:
        return Candidates(self.keys[rows], self.cluster_ids[rows], self.score[rows], self.passed[rows])

    def stand(self, rule: SelectionRule) -> Standings:
        """How they stand, all of them in memory."""
        return rule.stand(self.keys, self.cluster_ids, score=self.score, passed=self.passed)


def rule_of(reduced_set: FinishedSet) -> SelectionRule:
    """The rule by which a set was selected, as its stage select was made."""
    names = (SIZES, SPREADS, CENTROIDS)
    return SelectionRule.of(
        reduced_set.selection,
        reduced_set.num_clusters,
        of_clusters=lambda: [np.load(reduced_set.clusters / name, allow_pickle=False) for name in names],
        scores=lambda: (reduced_set.samples(name, ["score"])["score"].to_numpy() for name in reduced_set.part_names),
    )


def stand_all(reduced_set: FinishedSet, rule: SelectionRule) -> Standings:
    """How all samples of a set stand, in the order of the ledger.

    Holds 33 bytes a copy of a sample; keys, which take more, for a group of clusters at a time.
    """
    cluster_ids = np.concatenate(
        [reduced_set.samples(name, ["cluster"])["cluster"].to_numpy() for name in reduced_set.part_names]
    )
    sizes = np.bincount(cluster_ids, minlength=rule.num_clusters)
    of_cluster = plan_groups(sizes, _GROUP_ROWS // rule.soft_cap.max_repeats)
    blocks: dict[str, list[np.ndarray]] = {name: [] for name in ("rows", *_STANDING)}
    for group in range(int(of_cluster.max()) + 1):
        rows = np.flatnonzero(of_cluster[cluster_ids] == group).astype(np.int32)
        found = Candidates.of(pa.concat_tables(_group(reduced_set, of_cluster, group)))
        by_key = np.argsort(found.keys, kind="stable")
        standings = found.take(by_key).stand(rule)
        blocks["rows"].append(rows[by_key][standings.rows])
        for name in _STANDING:
            blocks[name].append(getattr(standings.copies, name))
    whole = {name: np.concatenate(blocks.pop(name)) for name in list(blocks)}  # one column at a time
    return Standings(rule, cluster_ids, None, whole.pop("rows"), Standing(**whole))


def _group(reduced_set: FinishedSet, of_cluster: np.ndarray, group: int) -> Iterator[pa.Table]:
    for name in reduced_set.part_names:
        table = reduced_set.samples(name, COLUMNS)
        yield table.filter(pa.array(of_cluster[table["cluster"].to_numpy()] == group))


def check_kept(reduced_set: FinishedSet, standings: Standings) -> None:
    """Refuse a ledger whose kept set, with its repeats, is not what the set's own ratio gives.

    Raises:
        ValueError: Names the first sample that differs.
    """
    ratio = reduced_set.selection["keep_ratio"]
    computed, start = standings.repeats(ratio), 0
    repeated = [REPEATS] if standings.rule.soft_cap.max_repeats > 1 else []
    for name in reduced_set.part_names:
        table = reduced_set.samples(name, ["key", "reason", *repeated])
        reason = table["reason"]
        # As it was selected, before others stood in for lost images.
        selected = pc.or_(pc.equal(reason, KEPT), pc.equal(reason, LOST)).to_numpy()
        found = computed[start : start + len(table)]
        differs = selected != (found > 0)
        if repeated:  # of a lost sample the ledger tells no more how often it was kept
            differs |= pc.equal(reason, KEPT).to_numpy() & (table[REPEATS].to_numpy() != found)
        differs = np.flatnonzero(differs)
        if len(differs):
            row = int(differs[0])
            raise ValueError(
                f"{reduced_set.folder} keeps other samples than its selection gives for ratio {ratio} (first: "
                f"{table['key'][row].as_py()!r}, {reason[row].as_py()!r}): another version made it, or a near "
                "duplicate stands in for a lost image, which the ledger then tells no more. Run again with "
                "`--restart select`."
            )
        start += len(table)
