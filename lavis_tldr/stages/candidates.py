"""What a generated caption is chosen from: the decoded one, others drawn from the captioner, and borrowed ones."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch

from lavis_tldr.reduction.refinement import BORROWED, DECODED, SAMPLED
from lavis_tldr.stages import caption, encode
from lavis_tldr.stages.bank import load_bank
from lavis_tldr.stages.context import Context

# Rows of encode's table of one part, the part's name and a caption for each row -> alignment, (N,) float32.
Aligner = Callable[[pa.Table, str, list[str]], np.ndarray]


class Candidates:
    """Several captions an image, of which the one that fits it best is taken.

    Args:
        context: The run.
        align: Scores captions.
    """

    def __init__(self, context: Context, align: Aligner):
        self._context, self._align = context, align
        self._bank = load_bank(context, context.stage("refine")) if context.config.borrows else None

    def best(self, rows: pa.Table, part_name: str, decoded: list[str]) -> tuple[list[str], np.ndarray, list[str]]:
        """The best candidate of each row; of equal ones the decoded, then the sampled in their order.

        Args:
            rows: Of encode's table, with key, image_key, codes, feature and caption_original.
            part_name: The part that they are of.
            decoded: What the captioner says of each image first.

        Returns:
            N captions, their alignment, (N,), and how each was come by: `DECODED`, `SAMPLED` or `BORROWED`.
        """
        candidates = [[(text, DECODED)] for text in decoded]
        for kind, found in ((SAMPLED, self._sampled(rows, part_name)), (BORROWED, self._borrowed(rows))):
            for mine, texts in zip(candidates, found, strict=True):
                known = {text for text, _ in mine}
                mine += [(text, kind) for text in dict.fromkeys(texts) if text not in known]
        counts = [len(mine) for mine in candidates]
        flat = [text for mine in candidates for text, _ in mine]
        scores = self._align(rows.take(pa.array(np.repeat(np.arange(len(decoded)), counts))), part_name, flat)
        captions, alignment, kinds = [], np.full(len(decoded), np.nan, np.float32), []
        ends = np.cumsum(counts)
        for i, (mine, end) in enumerate(zip(candidates, ends, strict=True)):
            own = scores[end - len(mine) : end]
            place = 0 if np.isnan(own).all() else int(np.nanargmax(own))  # the first of equals
            captions.append(mine[place][0])
            alignment[i] = own[place]
            kinds.append(mine[place][1])
        return captions, alignment, kinds

    def _sampled(self, rows: pa.Table, part_name: str) -> list[list[str]]:
        config = self._context.config
        if not config.num_sampled:
            return [[] for _ in range(len(rows))]
        if config.captions_all:
            return caption.load_captions(self._context, part_name, rows["key"], "captions_sampled")
        return caption.sampled_captions(self._context, rows)

    def _borrowed(self, rows: pa.Table) -> list[list[str]]:
        if self._bank is None:
            return [[] for _ in range(len(rows))]
        features = encode.features_of(rows, self._context.model.pooled_width)
        keys, originals = rows["image_key"].to_pylist(), rows["caption_original"].to_pylist()
        return self._bank.nearest(keys, torch.from_numpy(features), originals, self._context.config.num_borrowed)
