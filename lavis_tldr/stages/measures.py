"""What is known of the samples of a part that a selection can go by: distances, alignment, gradient (for `select`)."""

import numpy as np
import pyarrow as pa

from lavis_tldr.reduction.criteria import CRITERIA, score_by
from lavis_tldr.runs.stages import STAGES
from lavis_tldr.runs.tables import join_by_key
from lavis_tldr.stages.alignment import combiner_of
from lavis_tldr.stages.context import Context


class Measures:
    """The measures of the samples of any part.

    Args:
        context: The run.
    """

    def __init__(self, context: Context):
        self._context = context
        self._combine = combiner_of(context) if context.config.needs_scores else None

    def __call__(self, part_name: str) -> pa.Table:
        """key, cluster, distance, prototype_distance and alignment (NaN where it is not asked for), and gradient where
        the config needs it."""
        context = self._context
        table = context.load_part(context.stage("cluster"), part_name, STAGES["cluster"].column_names)
        alignment = self._alignment(part_name, table) if context.config.needs_scores else np.full(len(table), np.nan)
        table = table.append_column("alignment", pa.array(alignment, pa.float32()))
        if context.config.needs_gradients:
            found = context.load_part(context.stage("gradient"), part_name, STAGES["gradient"].column_names)
            table = join_by_key(table, found, left_name="cluster", right_name="gradient")
        return table

    def _alignment(self, part_name: str, table: pa.Table) -> np.ndarray:
        columns = list(self._context.config.score_weights)
        scores = self._context.load_part(self._context.stage("score"), part_name, ["key", *columns])
        joined = join_by_key(table.select(["key"]), scores, left_name="cluster", right_name="score")
        return self._combine({name: joined[name].to_numpy() for name in columns})


def scores_of(measures: pa.Table, selection: str) -> np.ndarray:
    """What a selection ranks samples by, higher is kept first, (N,), float32; NaN where the draw decides."""
    if selection not in CRITERIA:
        return np.full(len(measures), np.nan, np.float32)
    return score_by(selection, measures[CRITERIA[selection].column].to_numpy())
