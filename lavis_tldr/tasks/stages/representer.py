"""What is clustered, of the images of a set."""

import numpy as np

from lavis_tldr.reduction.code_tables import CodeStatistics
from lavis_tldr.reduction.representation import idf_from_frequency, represent
from lavis_tldr.tasks.stages.context import Context


class Representer:
    """Codes (N, L) to what is clustered (N, F), as the config says.

    Args:
        context: The run.
        statistics: Of the whole set, for the document frequencies of tf-idf.
        representation: Another than the config's.
    """

    def __init__(self, context: Context, statistics: CodeStatistics, representation: str | None = None):
        quantizer = context.model.quantizer
        kind = representation or context.config.representation
        self._options = {"kind": kind, "num_codes": quantizer.num_codes}
        if kind == "histogram" and context.config.tfidf:
            idf = idf_from_frequency(statistics.frequency, statistics.num_usable)
            self._options |= {"tfidf": True, "idf": idf}
        if kind == "embedding":
            self._options["codebook"] = quantizer.codebook.detach().float().cpu().numpy()

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        return represent(codes, **self._options)
