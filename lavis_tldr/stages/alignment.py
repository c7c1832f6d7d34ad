"""One alignment score a sample, out of those that the stage score wrote or a scorer gives."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from lavis_tldr.reduction.alignments import MIXTURE, Moments, combine_scores
from lavis_tldr.stages.context import Context
from lavis_tldr.stages.score import load_mixture


def combiner_of(context: Context) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Makes scores by column, (N,) each, one alignment, (N,), float32, as the config's alignment has it.

    Several scores are each standardized over the whole set before they are added up, or, where their weights were
    fitted, over the pairs that these were fitted on.
    """
    config, stage = context.config, context.stage("score")
    if config.fits_mixture:
        found = load_mixture(stage)
        return partial(combine_scores, weights=found.weights, moments=found.moments, intercept=found.intercept)
    weights = config.score_weights
    if len(weights) == 1 and config.alignment != MIXTURE:
        return partial(combine_scores, weights=weights, moments={})

    def moments_of(name: str) -> Moments:
        return Moments.over(lambda: (table[name].to_numpy() for table in context.load_parts(stage, [name])))

    return partial(combine_scores, weights=weights, moments={name: moments_of(name) for name in weights})
