"""Which samples of each cluster are kept (paper, section 3.2 and Table 2b).

A selection is two things: how the samples of each cluster stand, best first (``standing``), which needs that cluster's
samples alone, and how many of each cluster are kept (``count_kept``), which needs little more than sizes. So a set of
any size is selected from by groups of clusters (``regroup``), and the next best of each cluster are known as well. What
the best are (``criteria``), which samples take part (``prefilter``, ``concepts``, ``duplicates``), how often one may be
kept (``repeats``) and what a cluster's share is (``quotas``) are chosen apart from each other. `SelectionRule` brings
them together: the stage select goes by it group by group, the advisor for one ratio after another.

Shapes: N usable samples, M copies of them (N where each is kept once at most), C clusters, T = 4 tiers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lavis_tldr.reduction.criteria import balance_of
from lavis_tldr.reduction.cut import find_cut
from lavis_tldr.reduction.quotas import apportion, density_quotas, keep_budget
from lavis_tldr.reduction.repeats import Scores, SoftCap, count_copies
from lavis_tldr.reduction.standing import SCORED, UNSCORED, Standing, is_kept, stand, tier_sizes

# Cluster ids, standing of a block of samples.
Block = tuple[np.ndarray, Standing]
# Sizes of the clusters (C,) and a budget -> quotas (C,), none above its size, that sum to the budget.
Quotas = Callable[[np.ndarray, int], np.ndarray]


def count_kept(
    sizes: np.ndarray,
    keep_ratio: float,
    *,
    balance: float = 1.0,
    quotas: Quotas = apportion,
    blocks: Callable[[], Iterable[Block]] | None = None,
    num_samples: int | None = None,
) -> np.ndarray:
    """How many samples of each tier and cluster are kept: the first by their place.

    The budget goes to the scored samples first, and what they leave to the unscored ones by the same rule. The share
    ``balance`` of it is given out by cluster; the rest goes to the best of all that are left, which are the next of
    their clusters as well. Where samples are repeated, all of this holds of their copies: a cluster's share goes to the
    best copies in it, the rest to the best of all copies that are left, and an unscored sample is kept where no copy of
    a scored one is left.

    Args:
        sizes: (T, C), of ``tier_sizes``.
        keep_ratio: In (0, 1], of all N samples.
        balance: In [0, 1]. 1: quotas only. 0: clusters don't matter.
        quotas: What share of a budget each cluster gets: in proportion to its size, or otherwise (``quotas``).
        blocks: Gives all samples again, block by block, in any order; needed for a balance below 1.
        num_samples: N, where ``sizes`` and ``blocks`` are those of copies; else the sum of the sizes.

    Returns:
        (T, C), int64; a sample is kept where ``place < counts[tier, cluster]``.

    Raises:
        ValueError: If ratio or balance is out of range.
    """
    if not 0 <= balance <= 1:
        raise ValueError(f"balance is {balance}; it must be in [0, 1], the share of the budget given by cluster.")
    budget = keep_budget(int(sizes.sum()) if num_samples is None else num_samples, keep_ratio)
    counts = np.zeros_like(sizes)
    for tier in (SCORED, UNSCORED):
        share = min(budget, int(sizes[tier].sum()))
        budget -= share
        counts[tier] = given = quotas(sizes[tier], round(balance * share))
        if left := share - int(given.sum()):
            counts[tier] += _best_left(blocks, tier, given, left)
    return counts


def _best_left(blocks: Callable[[], Iterable[Block]], tier: int, given: np.ndarray, left: int) -> np.ndarray:
    """How many of each cluster are among the ``left`` best of a tier, quotas taken, (C,)."""

    def remaining() -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for clusters, standing in blocks():
            rows = (standing.tier == tier) & (standing.place >= given[clusters])
            yield clusters[rows], standing.bits[rows], standing.priority[rows]

    last_bits, last_priority = find_cut(lambda: (block[1:] for block in remaining()), left)
    above, at = np.zeros_like(given), np.zeros_like(given)
    for clusters, bits, priorities in remaining():
        ties = (bits == last_bits) & (priorities == last_priority)
        better = (bits < last_bits) | ((bits == last_bits) & (priorities < last_priority))
        above += np.bincount(clusters[better], minlength=len(given))
        at += np.bincount(clusters[ties], minlength=len(given))
    # Two keys with one hash and one score: the lower cluster id goes first.
    return above + np.diff(np.minimum(np.append(0, np.cumsum(at)), left - int(above.sum())))


@dataclass(frozen=True)
class SelectionRule:
    """By what samples are selected, whatever the set: all who select go by it.

    Attributes:
        keep_ratio: Share of the samples to keep, in (0, 1].
        seed: Of the draw.
        balance: Share of the budget given out by cluster, in [0, 1].
        quotas: What share of a budget each cluster gets.
        num_clusters: C, or 0 where the samples tell: quotas that go by more than sizes need it.
        soft_cap: How often a sample may be kept.
    """

    keep_ratio: float
    seed: int
    balance: float = 1.0
    quotas: Quotas = apportion
    num_clusters: int = 0
    soft_cap: SoftCap = SoftCap()

    @classmethod
    def of(
        cls,
        settings: Mapping,
        num_clusters: int,
        of_clusters: Callable[[], Iterable[np.ndarray]],
        scores: Scores,
    ) -> SelectionRule:
        """The rule that the settings of the stage select ask for.

        Args:
            settings: As its manifest has them.
            num_clusters: C.
            of_clusters: Gives sizes (C,), spreads (C,) and centroids (C, F), where quotas go by density.
            scores: Gives what the selection ranks all samples by, where they are repeated.
        """
        quotas = apportion
        if settings.get("quota") == "density":
            quotas = density_quotas(*of_clusters(), settings["density_temperature"])
        balance = balance_of(settings["selection"], settings.get("balance", 1.0))
        soft_cap = SoftCap.of(settings, scores)
        return cls(settings["keep_ratio"], settings["seed"], balance, quotas, num_clusters, soft_cap)

    def stand(
        self,
        keys: Sequence[str],
        cluster_ids: np.ndarray,
        *,
        score: np.ndarray | None = None,
        passed: np.ndarray | None = None,
        duplicate_of: Sequence[str] | None = None,
    ) -> Standings:
        """How the samples of whole clusters, and all their copies, stand; arguments as `standing.stand`."""
        standing = stand(keys, cluster_ids, seed=self.seed, score=score, passed=passed, duplicate_of=duplicate_of)
        cluster_ids = np.asarray(cluster_ids).astype(np.int64)
        scores = np.full(len(keys), np.nan, np.float32) if score is None else np.asarray(score, np.float32)
        rows, copies = self.soft_cap.copies(standing, cluster_ids, scores)
        return Standings(self, cluster_ids, standing, rows, copies)

    def count(
        self,
        sizes: np.ndarray,
        blocks: Callable[[], Iterable[Block]],
        keep_ratio: float | None = None,
        *,
        num_samples: int,
    ) -> np.ndarray:
        """How many copies of each tier and cluster are kept, (T, C), by the rule's own ratio or another
        (`count_kept`)."""
        ratio = self.keep_ratio if keep_ratio is None else keep_ratio
        return count_kept(
            sizes, ratio, balance=self.balance, quotas=self.quotas, blocks=blocks, num_samples=num_samples
        )


@dataclass(frozen=True)
class Standings:
    """How all samples of a set stand, in memory, and what follows.

    Ratios are nested but for rounding: of a larger one a cluster's quota may be a sample smaller, as largest remainders
    have it.

    Attributes:
        rule: By which they are selected.
        cluster_ids: (N,), integers.
        standing: Of the N samples, or None where nobody asks for it.
        rows: The sample that each copy is of, (M,), integers.
        copies: How they stand, (M,).
    """

    rule: SelectionRule
    cluster_ids: np.ndarray
    standing: Standing | None
    rows: np.ndarray
    copies: Standing

    def repeats(self, keep_ratio: float | None = None) -> np.ndarray:
        """How often each sample is kept, (N,), int64, by the rule's own ratio or another.

        What was filtered and near duplicates are never kept, and clusters count without them. The sum is the number
        kept by a uniform draw unless too few samples, or copies of them, are left.

        Raises:
            ValueError: If ratio or balance is out of range.
        """
        num_clusters = max(self.rule.num_clusters, int(self.cluster_ids.max(initial=-1)) + 1)
        cluster_ids, tier = self.cluster_ids[self.rows], self.copies.tier
        sizes = tier_sizes(cluster_ids, tier, num_clusters)
        blocks = lambda: [(cluster_ids, self.copies)]  # noqa: E731
        counts = self.rule.count(sizes, blocks, keep_ratio, num_samples=len(self.cluster_ids))
        return count_copies(self.rows, is_kept(cluster_ids, tier, self.copies.place, counts), len(self.cluster_ids))

    def kept(self, keep_ratio: float | None = None) -> np.ndarray:
        """True for a sample that is kept, (N,), bool, by the rule's own ratio or another (`repeats`)."""
        return self.repeats(keep_ratio) > 0
