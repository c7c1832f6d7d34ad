"""What each ratio covers of a set: clusters, codes, alignment, near duplicates, rare words.

Counters and bitmaps, filled part by part: memory grows with the vocabulary alone.

Shapes: N usable samples, C clusters, K codes, L codes an image, F features an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from lavis_tldr.advice.finished import FinishedSet
from lavis_tldr.advice.selections import Standings
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.duplicates import find_near_duplicates
from lavis_tldr.reduction.rare_words import rare_up_to
from lavis_tldr.reduction.representation import normalise_rows
from lavis_tldr.reduction.words import Counts, SplitCaptions, Vocabulary

_TWIN_ROWS = 50_000  # samples, in whole clusters, among which near duplicates are looked for


def coverage_by_ratio(
    finished: FinishedSet, standings: Standings, ratios: Sequence[float | None], twin_threshold: float
) -> list[dict]:
    """Facts of what each ratio keeps.

    Args:
        finished: The finished set.
        standings: Of all its samples.
        ratios: None stands for the whole set.
        twin_threshold: Cosine of centred pooled features from which two samples of a cluster are near duplicates.

    Returns:
        For each ratio `Coverage.facts`; ``near_duplicates``, a share (`near_duplicate_share`), among whole
        clusters drawn from the set so that they have 50,000 samples or so; ``rare_words``, the share of the set's rare
        words that the kept captions have, None where it has none.
    """
    kept = [_kept(standings, ratio) for ratio in ratios]
    found = [Coverage(finished.num_clusters, finished.num_codes, finished.aligned_from) for _ in ratios]
    compared = _drawn_clusters(standings.cluster_ids, finished.num_clusters, standings.rule.seed)
    words = RareWordsKept(len(ratios))
    features, keys, rows, start = [], [], [], 0
    for name in finished.part_names:
        table = finished.samples(name, ["key", "cluster", "alignment", "caption_original"])
        cluster_ids, alignment = table["cluster"].to_numpy(), table["alignment"].to_numpy()
        codes = finished.codes(name, table["key"])
        kept_here = [flags[start : start + len(table)] for flags in kept]
        words.add(table["caption_original"], kept_here)
        for coverage, here in zip(found, kept_here, strict=True):
            coverage.add(cluster_ids[here], alignment[here], codes[here])
        drawn = np.flatnonzero(compared[cluster_ids])
        if len(drawn):
            chosen = table["key"].take(pa.array(drawn))
            features.append(finished.features(name, chosen))
            keys += chosen.to_pylist()
            rows.append(start + drawn)
        start += len(table)
    rows, features, keys = np.concatenate(rows), np.concatenate(features), np.array(keys, object)
    features -= features.mean(0)
    clusters = standings.cluster_ids[rows]

    def twins(flags: np.ndarray) -> float | None:
        here = flags[rows]
        return near_duplicate_share(features[here], clusters[here], keys[here], twin_threshold)

    return [
        coverage.facts() | {"near_duplicates": twins(flags), "rare_words": share}
        for coverage, flags, share in zip(found, kept, words.shares(), strict=True)
    ]


def _kept(standings: Standings, ratio: float | None) -> np.ndarray:
    return np.ones(len(standings.cluster_ids), bool) if ratio is None else standings.kept(ratio)


def _drawn_clusters(cluster_ids: np.ndarray, num_clusters: int, seed: int) -> np.ndarray:
    """Clusters drawn one after another while they have at most ``_TWIN_ROWS`` samples together, one at least; (C,)."""
    sizes = np.bincount(cluster_ids, minlength=num_clusters)
    filled = np.flatnonzero(sizes)
    order = filled[np.argsort(draw_priority(filled, seed), kind="stable")]
    number = max(1, int(np.searchsorted(np.cumsum(sizes[order]), _TWIN_ROWS, side="right")))
    drawn = np.zeros(num_clusters, bool)
    drawn[order[:number]] = True
    return drawn


class Coverage:
    """Counters over the samples that one selection keeps.

    Args:
        num_clusters: C.
        num_codes: K.
        aligned_from: Alignment from which a caption counts as fitting; None where nothing says so.
    """

    def __init__(self, num_clusters: int, num_codes: int, aligned_from: float | None):
        self._aligned_from = aligned_from
        self._by_cluster = np.zeros(num_clusters, np.int64)
        self._seen = np.zeros(num_codes, bool)
        self._alignment = 0.0
        self._num_scored = self._num_aligned = 0

    def add(self, cluster_ids: np.ndarray, alignment: np.ndarray, codes: np.ndarray) -> None:
        """Count kept samples of a part: (N,), (N,) with NaN where not scored, and (N, L)."""
        self._by_cluster += np.bincount(cluster_ids, minlength=len(self._by_cluster))
        scores = alignment[~np.isnan(alignment)].astype(np.float64)
        self._alignment += float(scores.sum())
        self._num_scored += len(scores)
        if self._aligned_from is not None:
            self._num_aligned += int((scores >= self._aligned_from).sum())
        if not self._seen.all():  # of a large set a few parts have them all
            self._seen |= np.bincount(codes.ravel(), minlength=len(self._seen)) > 0

    def facts(self) -> dict:
        """``pairs``; ``clusters`` with one; ``effective_clusters``; ``codes_seen``, a share of the codebook; and, None
        where nothing is known of it, ``mean_alignment`` and ``aligned``, the share of fitting captions."""
        scored = self._num_scored
        is_told = scored and self._aligned_from is not None
        return {
            "pairs": int(self._by_cluster.sum()),
            "clusters": int((self._by_cluster > 0).sum()),
            "effective_clusters": effective_number(self._by_cluster),
            "codes_seen": float(self._seen.mean()),
            "mean_alignment": self._alignment / scored if scored else None,
            "aligned": self._num_aligned / scored if is_told else None,
        }


def effective_number(counts: np.ndarray) -> float:
    """How many equally large classes are as diverse as these: the exponential of the entropy (Hill, 1973)."""
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


def near_duplicate_share(
    features: np.ndarray, cluster_ids: np.ndarray, keys: Sequence[str], threshold: float
) -> float | None:
    """Share of samples that nearly repeat another of their cluster, by cosine; None of nothing.

    Args:
        features: (N, F), centred on the set's mean: what all images have in common would make any two alike.
        cluster_ids: (N,); no cluster is given in part.
        keys: (N,).
        threshold: Cosine similarity in (0, 1].
    """
    if not len(keys):
        return None
    nobody_ranks = np.full(len(keys), np.nan)
    twins = find_near_duplicates(normalise_rows(features), cluster_ids, threshold, nobody_ranks, keys)
    return float((twins != "").mean())


class RareWordsKept:
    """Counts the rare words of a set's original captions that each of several selections still has.

    Args:
        number: Of the selections.
    """

    def __init__(self, number: int):
        self._vocabulary, self._num_captions = Vocabulary(), 0
        self._in_captions, self._in_kept = Counts(), [Counts() for _ in range(number)]

    def add(self, captions: pa.ChunkedArray, kept: Sequence[np.ndarray]) -> None:
        """Count captions (N,), of which each selection keeps some, (N,), bool."""
        rows, words = SplitCaptions(captions, self._vocabulary).uncommon()
        self._num_captions += len(captions)
        self._in_captions.add(words)
        for counts, flags in zip(self._in_kept, kept, strict=True):
            counts.add(words[flags[rows]])

    def shares(self) -> list[float | None]:
        """By selection; None where no word is rare."""
        size = len(self._vocabulary)
        numbers = self._in_captions.up_to(size)
        # Common words have numbers as well, but are not counted.
        is_rare = (numbers > 0) & (numbers <= rare_up_to(self._num_captions))
        if not is_rare.any():
            return [None] * len(self._in_kept)
        return [float((counts.up_to(size)[is_rare] > 0).mean()) for counts in self._in_kept]
