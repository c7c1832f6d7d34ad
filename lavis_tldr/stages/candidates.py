"""What a generated caption is chosen from: the decoded one, others drawn from the captioner, and borrowed ones."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch

from lavis_tldr.models.sampling import SamplingOptions, uniforms_of
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.refinement import BORROWED, DECODED, SAMPLED
from lavis_tldr.stages import encode
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
        self._bank = load_bank(context, context.stage("refine")) if context.config.num_borrowed else None

    def best(self, rows: pa.Table, part_name: str, decoded: list[str]) -> tuple[list[str], np.ndarray, list[str]]:
        """The best candidate of each row; of equal ones the decoded, then the sampled in their order.

        Args:
            rows: Of encode's table, with codes, feature, image_key and caption_original.
            part_name: The part that they are of.
            decoded: What the captioner says of each image first.

        Returns:
            N captions, their alignment, (N,), and how each was come by: `DECODED`, `SAMPLED` or `BORROWED`.
        """
        candidates = [[(caption, DECODED)] for caption in decoded]
        for kind, found in ((SAMPLED, self._sampled(rows)), (BORROWED, self._borrowed(rows))):
            for mine, captions in zip(candidates, found, strict=True):
                mine += [(caption, kind) for caption in captions if caption not in {known for known, _ in mine}]
        counts = [len(mine) for mine in candidates]
        flat = [caption for mine in candidates for caption, _ in mine]
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

    def _sampled(self, rows: pa.Table) -> list[list[str]]:
        context, config = self._context, self._context.config
        if not config.num_sampled:
            return [[] for _ in range(len(rows))]
        images = encode.images_of(rows, context.model)
        priorities = draw_priority(rows["image_key"].to_pylist(), config.seed)
        sampling = SamplingOptions(config.temperature, config.top_p)
        found = []
        for start in range(0, len(images), config.batch_size_eval):
            block = slice(start, start + config.batch_size_eval)
            uniforms = uniforms_of(priorities[block], config.num_sampled, config.max_len)
            with context.autocast():
                moved = images[block].to(context.device)
                found += context.model.sample_from(moved, config.decoding, sampling, uniforms)
        return found

    def _borrowed(self, rows: pa.Table) -> list[list[str]]:
        if self._bank is None:
            return [[] for _ in range(len(rows))]
        features = encode.features_of(rows, self._context.model.pooled_width)
        keys, originals = rows["image_key"].to_pylist(), rows["caption_original"].to_pylist()
        return self._bank.nearest(keys, torch.from_numpy(features), originals, self._context.config.num_borrowed)
