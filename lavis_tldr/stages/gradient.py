"""Gradient: how much each pair contributes to the gradient of a tiny image-text network (paper, sec. 4.1)."""

from collections.abc import Iterator

import pyarrow as pa
import torch

from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import STAGES
from lavis_tldr.scoring.gradients import GradientScorer, TokenPairs, fit_gradients
from lavis_tldr.sources import Part
from lavis_tldr.stages import encode
from lavis_tldr.stages.context import Context, finish_on_first, make_once, run_parts
from lavis_tldr.stages.sampling import draw_sample, load_drawn

NETWORK = "network.safetensors"
_COLUMNS = ["key", "image_key", "caption_original", "feature"]


def run(context: Context, stage: Stage) -> None:
    """Write ``gradient/<part>.parquet``: key and gradient norm of the usable samples.

    The first process trains the network on a drawn sample, and keeps it; then all score, each its parts.
    """
    mine = context.my_parts(stage)
    path = make_once(stage, NETWORK, lambda: _fit(context).save)
    counts, seconds = run_parts(context, stage, mine, _scored(context, GradientScorer.load(path), mine))
    finish_on_first(stage, counts, seconds)


def _fit(context: Context) -> GradientScorer:
    sample = draw_sample(context, context.config.fit_size, context.config.alignment_seed)
    keys, tokens = [""] * len(sample), [()] * len(sample)
    images = torch.empty(len(sample), context.model.pooled_width)
    for table, places in load_drawn(context, sample, _COLUMNS):
        found = _pairs(context, table)
        images[places] = found.images
        for place, key, caption in zip(places, found.image_keys, found.tokens, strict=True):
            keys[place], tokens[place] = key, caption
    return fit_gradients(TokenPairs(keys, images, tokens), context.config.alignment_seed)


def _pairs(context: Context, table: pa.Table) -> TokenPairs:
    """Usable rows of encode's table as the network takes them; tokens are the captioner's."""
    model = context.model
    images = torch.from_numpy(encode.features_of(table, model.pooled_width))
    tokens = model.tokenizer.encode(table["caption_original"].to_pylist(), model.max_text_length)
    return TokenPairs(table["image_key"].to_pylist(), images, tokens)


def _scored(context: Context, scorer: GradientScorer, parts: list[Part]) -> Iterator[pa.Table]:
    for part in parts:
        table = encode.load_usable(context, part.name, _COLUMNS)
        yield pa.table(
            {"key": table["key"], "gradient": scorer(_pairs(context, table))}, schema=STAGES["gradient"].schema
        )
