"""What a reduced set is for, and which settings suit that: the defaults of ``run.objective``.

To change what an objective does, change this table: nothing else knows of it. Keys are settings of a reduction
(`lavis_tldr.stages.reduce_config.ReduceConfig`); one that an objective does not name keeps its usual default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Default:
    """A setting's value under an objective.

    Attributes:
        value: The value.
        why: One line, which ``lavis-tldr reduce --explain`` shows.
    """

    value: Any
    why: str


_RIGHT_CAPTIONS = Default("contrastive", "knows a wrong caption by heads that never saw the pair")
_CHOSEN_CAPTIONS = Default(
    "original", "they fit, being kept for it; generated ones help on photos, not on drawn scenes"
)

OBJECTIVES: Mapping[str, Mapping[str, Default]] = {
    "retrieval": {
        "alignment": _RIGHT_CAPTIONS,
        "selection": Default("aligned", "captions are told apart in detail, so a wrong one costs most"),
        "balance": Default(0.5, "half goes to the best of all, half keeps every cluster's subjects"),
        "min_words": Default(4, "a caption of fewer words tells its image from few others"),
        "recipe": _CHOSEN_CAPTIONS,
    },
    "classification": {
        "alignment": _RIGHT_CAPTIONS,
        "prefilter": Default("aligned", "wrong captions go first, then breadth decides"),
        "prefilter_share": Default(0.5, "the better half leaves enough to draw from"),
        "prefilter_scope": Default("cluster", "of each cluster, so that no subject is filtered out as a whole"),
        "selection": Default("uniform", "classes are many: what is drawn from every cluster covers more of them"),
        "balance": Default(1.0, "should a criterion select, all of the budget is given out by cluster"),
        "quota": Default("density", "wide and lonely clusters, the rare subjects, get more than their size"),
        "recipe": Default("original", "originals name what is to be seen; generated captions know fewer names"),
    },
    "both": {
        "alignment": _RIGHT_CAPTIONS,
        "selection": Default("aligned", "a wrong caption teaches neither"),
        "balance": Default(0.75, "more breadth than for retrieval alone, more alignment than for classes alone"),
        "min_words": Default(3, "short names stay, bare words go"),
        "recipe": _CHOSEN_CAPTIONS,
    },
}
