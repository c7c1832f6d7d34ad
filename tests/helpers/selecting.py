"""A selection in one call, by the rule that the stages and the advisor go by."""

from lavis_tldr.reduction.selection import SelectionRule


def select(keys, cluster_ids, keep_ratio, *, seed, balance=1.0, quotas=None, **known):
    """Which of the samples are kept, (N,), bool; ``known``: score, passed, duplicate_of."""
    rule = SelectionRule(keep_ratio, seed, balance, **({"quotas": quotas} if quotas else {}))
    return rule.stand(keys, cluster_ids, **known).kept()


def select_uniform(keys, cluster_ids, keep_ratio, *, seed):
    """The paper's: the same share of each cluster, drawn at random."""
    return select(keys, cluster_ids, keep_ratio, seed=seed)
