"""What each ratio of a recipe covers of its set, read part by part.

Shapes: N usable samples, C clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from lavis_tldr.advice.coverage import Coverage, RareWordsKept, near_duplicate_share
from lavis_tldr.advice.finished import FinishedSet
from lavis_tldr.advice.selections import Standings
from lavis_tldr.reduction.draw import draw_priority

_TWIN_ROWS = 50_000  # samples, in whole clusters, among which near duplicates are looked for


def statistics(
    recipe: FinishedSet, standings: Standings, ratios: Sequence[float | None], twin_threshold: float
) -> list[dict]:
    """Facts of what each ratio keeps.

    Args:
        recipe: The finished recipe.
        standings: Of all its samples.
        ratios: None stands for the whole set.
        twin_threshold: Cosine of centred pooled features from which two samples of a cluster are near duplicates.

    Returns:
        For each ratio `Coverage.facts`; ``near_duplicates``, a share (`coverage.near_duplicate_share`), among whole
        clusters drawn from the set so that they have 50,000 samples or so; ``rare_words``, the share of the set's rare
        words that the kept captions have, None where it has none.
    """
    kept = [_kept(standings, ratio) for ratio in ratios]
    found = [Coverage(recipe.num_clusters, recipe.num_codes, recipe.aligned_from) for _ in ratios]
    compared = _drawn_clusters(standings.cluster_ids, recipe.num_clusters, standings.rule.seed)
    words = RareWordsKept(len(ratios))
    features, keys, rows, start = [], [], [], 0
    for name in recipe.part_names:
        table = recipe.samples(name, ["key", "cluster", "alignment", "caption_original"])
        cluster_ids, alignment = table["cluster"].to_numpy(), table["alignment"].to_numpy()
        codes = recipe.codes(name, table["key"])
        kept_here = [flags[start : start + len(table)] for flags in kept]
        words.add(table["caption_original"], kept_here)
        for coverage, here in zip(found, kept_here, strict=True):
            coverage.add(cluster_ids[here], alignment[here], codes[here])
        drawn = np.flatnonzero(compared[cluster_ids])
        if len(drawn):
            chosen = table["key"].take(pa.array(drawn))
            features.append(recipe.features(name, chosen))
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
