"""What is clustered (paper, Table 2d): image-text pairs, or their codes, as vectors.

Shapes: N pairs, L codes an image, F features a pair.
"""

import numpy as np
import pyarrow as pa

from lavis_tldr.reduction.representation import REPRESENTATIONS, idf_from_frequency, normalise_rows, represent
from lavis_tldr.runs.code_tables import CodeStatistics
from lavis_tldr.runs.stages import PLACE
from lavis_tldr.stages import blip, encode
from lavis_tldr.stages.context import Context


class Representer:
    """Codes (N, L) to features (N, F), as the config says.

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


class PairRepresenter:
    """Usable rows of encode's table to what is clustered (N, F), as the config says.

    - Representations made of codes: `Representer`.
    - ``feature``: the encoder's mean patch feature, L2-normalised like the mean code vector (embedding), from which it
      then differs by the quantizing alone. It is not standardized over the set: a pair is represented the same in
      whatever set and part it stands.
    - ``text``: the sentence embedding of the original caption, L2-normalised.
    - ``blip``: BLIP's image feature, L2-normalised.

    Attributes:
        columns: Of encode's table, what the rows must hold.
    """

    def __init__(self, context: Context, statistics: CodeStatistics):
        self._context, self._kind = context, context.config.representation
        self._of_codes = None
        if self._kind in REPRESENTATIONS:
            self._of_codes = Representer(context, statistics)
            self.columns = ["codes"]
        else:
            self.columns = {"feature": ["feature"], "text": ["caption_original"], "blip": list(PLACE)}[self._kind]

    def __call__(self, rows: pa.Table) -> np.ndarray:
        model = self._context.model
        if self._of_codes is not None:
            return self._of_codes(encode.codes_of(rows, model.num_patches))
        if self._kind == "feature":
            return normalise_rows(encode.features_of(rows, model.pooled_width)[:, : model.encoder_width])
        if self._kind == "blip":
            return blip.embed_images(self._context, rows)
        return self._context.sentence_encoder(rows["caption_original"].to_pylist()).numpy()


def inputs_of(context: Context) -> dict[str, str]:
    """Digests of what the features depend on besides encode's files."""
    if context.config.representation == "text":
        return {"sentence encoder": context.sentence_encoder.digest}
    if context.config.representation == "blip":
        return {"blip": context.blip.digest}
    return {}
