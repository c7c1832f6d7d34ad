"""Selection as it is described, in plain Python: the oracle for the stages."""

import math
from collections import Counter

import numpy as np

from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.quotas import apportion_by_weight  # which has an oracle of its own

# Criterion -> what it goes by, whether more of it is better, and what is wrong with those dropped.
CRITERIA = {
    "aligned": ("alignment", 1, "low alignment"),
    "large_distance": ("distance", 1, "near its centroid"),
    "hard_sample": ("prototype_distance", 1, "near its prototype"),
    "easy_sample": ("prototype_distance", -1, "far from its prototype"),
    "gradient": ("gradient", 1, "small gradient"),
}


def naive_outcome(samples, config, num_clusters, weights, alike, seed=42):
    """Reason, place among the understudies and repeats of each usable sample.

    Args:
        samples: {key: {"cluster", "alignment", "distance", "prototype_distance", "gradient", "caption"}}.
        config: Keys of ReduceConfig, and ``concepts``.
        num_clusters: C.
        weights: Of the clusters, by density; empty: they weigh what they hold.
        alike: Whether two keys are near duplicates.
    """
    priority = dict(zip(samples, draw_priority(list(samples), seed).tolist(), strict=True))
    clusters = range(num_clusters)
    members = {c: [key for key, sample in samples.items() if sample["cluster"] == c] for c in clusters}

    def score(key, criterion):
        if criterion not in CRITERIA:
            return math.nan
        column, sign, _ = CRITERIA[criterion]
        return sign * samples[key][column]

    def best_first(criterion):
        return lambda key: (math.isnan(score(key, criterion)), nan_is_none(-score(key, criterion)), priority[key])

    def share_of(keys, share):
        return min(len(keys), max(1, round(len(keys) * share)))

    selection, prefilter = config["selection"], config.get("prefilter", "")
    passed = set(samples)
    if prefilter:
        groups = [list(samples)] if config["prefilter_scope"] == "all" else [keys for keys in members.values() if keys]
        passed = set()
        for keys in groups:
            passed |= set(sorted(keys, key=best_first(prefilter))[: share_of(keys, config["prefilter_share"])])
    words = {key: sample["caption"].replace(",", " ").lower().split() for key, sample in samples.items()}
    short = {key for key in samples if len(words[key]) < config.get("min_words", 0)}
    capped = {}
    if cap := config.get("concept_cap"):
        cap = share_of(list(samples), cap) if cap < 1 else cap
        having = {
            concept: [key for key in samples if f" {concept} " in f" {' '.join(words[key])} "]
            for concept in config["concepts"]
        }
        best = {key for keys in having.values() for key in sorted(keys, key=best_first(selection))[:cap]}
        matched = {key for keys in having.values() for key in keys}
        capped = dict.fromkeys(matched - best, "concept cap")
        if not config["keep_unmatched"]:
            capped |= dict.fromkeys(set(samples) - matched, "no concept")
    passed -= short | set(capped)

    twin_of = {}
    if config.get("duplicate_threshold"):
        scored = "aligned" in (selection, prefilter)
        for keys in members.values():
            stay = []
            order = sorted(keys, key=best_first(selection))
            order.sort(key=lambda key: best_first("aligned")(key)[:2] if scored else 0)
            for key in order:
                if key in passed:
                    better = [other for other in stay if alike(key, other)]
                    twin_of.update({key: better[0]} if better else {})
                    stay += [] if better else [key]

    budget, kept = share_of(list(samples), config["keep_ratio"]), Counter()
    scores = [score(key, selection) for key in samples]
    penalty = config.get("repeat_penalty", 0.0) * deviation([x for x in scores if not math.isnan(x)])

    def copy_first(copy):
        """A copy is a key, and how many copies of it come before."""
        key, before = copy
        lowered = float(np.float32(score(key, selection) - before * penalty))
        return (math.isnan(lowered), nan_is_none(-lowered), priority[key], before)

    balance = {"random": 0.0, "uniform": 1.0}.get(selection, config.get("balance", 1.0))
    eligible = [key for key in passed if key not in twin_of]
    for is_unscored in (False, True):
        number = 1 if is_unscored else config.get("max_repeats", 1)
        keys = [key for key in eligible if math.isnan(score(key, selection)) == is_unscored]
        tier = sorted(((key, before) for key in keys for before in range(number)), key=copy_first)
        share = min(budget, len(tier))
        budget -= share
        sizes = [sum(samples[key]["cluster"] == c for key, _ in tier) for c in clusters]
        quotas = apportion_by_weight(sizes, round(balance * share), weights or sizes)
        given = {k for c in clusters for k in [k for k in tier if samples[k[0]]["cluster"] == c][: quotas[c]]}
        rest = [copy for copy in tier if copy not in given][: share - len(given)]
        kept.update(key for key, _ in [*given, *rest])

    def in_line(key):
        """Scored before unscored before filtered before near duplicates."""
        rank = 3 if key in twin_of else 2 if key not in passed else int(math.isnan(score(key, selection)))
        return (rank, *best_first(selection)(key))  # of those left out, too, the unscored come last

    found = {}
    for keys in members.values():
        line = sorted((key for key in keys if key not in kept), key=in_line)
        for key in keys:
            reason = "kept"
            if key in line:
                reason = "dropped: not drawn"
                if not math.isnan(score(key, selection)):
                    reason = f"dropped: {CRITERIA[selection][2]}"
                if key in twin_of:
                    reason = f"dropped: near duplicate of {twin_of[key]}"
                if key not in passed:
                    why = "short caption" if key in short else capped.get(key) or CRITERIA[prefilter][2]
                    reason = f"dropped: filtered: {why}"
            found[key] = (reason, line.index(key) + 1 if key in line else 0, kept[key])
    return found


def deviation(values):
    """Standard deviation, 1 where all are equal or there is none."""
    if not values:
        return 1.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) * (value - mean) for value in values) / len(values)) or 1.0


def nan_is_none(value):
    return 0.0 if math.isnan(value) else value
