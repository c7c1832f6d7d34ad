"""What every keep ratio of a finished recipe keeps, computed anew from its ledger by the selection's own functions.

Shapes: N usable samples, C clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.advice.finished import FinishedSet
from lavis_tldr.reduction.criteria import balance_of
from lavis_tldr.reduction.quotas import apportion, density_quotas
from lavis_tldr.reduction.selection import Quotas, count_kept
from lavis_tldr.reduction.standing import Standing, is_kept, stand, tier_sizes
from lavis_tldr.runs.outcomes import FILTERED, KEPT, LOST, NEAR_DUPLICATE
from lavis_tldr.runs.regroup import plan_groups
from lavis_tldr.stages.cluster import CENTROIDS, SIZES, SPREADS

COLUMNS = ("key", "cluster", "score", "reason")
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


@dataclass(frozen=True)
class Standings:
    """How samples stand, and what follows for any ratio.

    Ratios are nested but for rounding: of a larger one a cluster's quota may be a sample smaller, as largest remainders
    have it.

    Attributes:
        rule: By which they are selected.
        cluster_ids: (N,).
        standing: Of the N samples.
    """

    rule: SelectionRule
    cluster_ids: np.ndarray
    standing: Standing

    def kept(self, ratio: float) -> np.ndarray:
        """True for the samples that a ratio keeps, (N,), bool."""
        counts = count_kept(
            tier_sizes(self.cluster_ids, self.standing.tier, self.rule.num_clusters),
            ratio,
            balance=self.rule.balance,
            quotas=self.rule.quotas,
            blocks=lambda: [(self.cluster_ids, self.standing)],
        )
        return is_kept(self.cluster_ids, self.standing.tier, self.standing.place, counts)


@dataclass(frozen=True)
class SelectionRule:
    """By what a recipe selects, whatever its ratio.

    Attributes:
        num_clusters: C.
        seed: Of the draw.
        balance: Share of the budget given out by cluster.
        quotas: What share of a budget each cluster gets.
    """

    num_clusters: int
    seed: int
    balance: float
    quotas: Quotas

    @classmethod
    def of(cls, recipe: FinishedSet) -> SelectionRule:
        """The rule of a recipe, as its stage select was made."""
        config = recipe.selection
        balance = balance_of(config["selection"], config.get("balance", 1.0))
        quotas = apportion
        if config.get("quota") == "density":
            of_clusters = (np.load(recipe.clusters / name, allow_pickle=False) for name in (SIZES, SPREADS, CENTROIDS))
            quotas = density_quotas(*of_clusters, config["density_temperature"])
        return cls(recipe.num_clusters, config["seed"], balance, quotas)

    def stand(self, candidates: Candidates) -> Standings:
        """How samples stand, all of them in memory."""
        clusters = candidates.cluster_ids
        standing = stand(candidates.keys, clusters, seed=self.seed, score=candidates.score, passed=candidates.passed)
        return Standings(self, clusters, standing)


def stand_all(recipe: FinishedSet, rule: SelectionRule) -> Standings:
    """How all samples of a recipe stand, in the order of the ledger.

    Holds 29 bytes a sample; keys, which take more, for a group of clusters at a time.
    """
    cluster_ids = np.concatenate(
        [recipe.samples(name, ["cluster"])["cluster"].to_numpy() for name in recipe.part_names]
    )
    sizes = np.bincount(cluster_ids, minlength=rule.num_clusters)
    of_cluster = plan_groups(sizes, _GROUP_ROWS)
    count = len(cluster_ids)
    columns = {"tier": np.int8, "place": np.int64, "bits": np.uint32, "priority": np.uint64}
    whole = Standing(**{name: np.empty(count, dtype) for name, dtype in columns.items()})
    for group in range(int(of_cluster.max()) + 1):
        rows = np.flatnonzero(of_cluster[cluster_ids] == group)
        found = Candidates.of(pa.concat_tables(_group(recipe, of_cluster, group)))
        by_key = np.argsort(found.keys, kind="stable")
        standing = rule.stand(found.take(by_key)).standing
        for name in columns:
            getattr(whole, name)[rows[by_key]] = getattr(standing, name)
    return Standings(rule, cluster_ids, whole)


def _group(recipe: FinishedSet, of_cluster: np.ndarray, group: int) -> Iterator[pa.Table]:
    for name in recipe.part_names:
        table = recipe.samples(name, COLUMNS)
        yield table.filter(pa.array(of_cluster[table["cluster"].to_numpy()] == group))


def check_kept(recipe: FinishedSet, standings: Standings) -> None:
    """Refuse a ledger whose kept set is not what the recipe's own ratio gives.

    Raises:
        ValueError: Names the first sample that differs.
    """
    ratio = recipe.selection["keep_ratio"]
    computed, start = standings.kept(ratio), 0
    for name in recipe.part_names:
        table = recipe.samples(name, ["key", "reason"])
        reason = table["reason"]
        # As it was selected, before others stood in for lost images.
        selected = pc.or_(pc.equal(reason, KEPT), pc.equal(reason, LOST)).to_numpy()
        differs = np.flatnonzero(selected != computed[start : start + len(table)])
        if len(differs):
            row = int(differs[0])
            raise ValueError(
                f"{recipe.folder} keeps other samples than its selection gives for ratio {ratio} (first: "
                f"{table['key'][row].as_py()!r}, {reason[row].as_py()!r}): another version made it, or a near "
                "duplicate stands in for a lost image, which the ledger then tells no more. Run again with "
                "`--restart select`."
            )
        start += len(table)
