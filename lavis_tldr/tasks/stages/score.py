"""Score: a generated caption for every sample, and how well the original caption fits its image."""

from functools import partial

import numpy as np
import pyarrow as pa
import torch

from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.sources import Part
from lavis_tldr.tasks.alignment import CaptionScorer
from lavis_tldr.tasks.stages import cluster, encode
from lavis_tldr.tasks.stages.context import Context, finish_on_first, run_parts

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("caption_generated", pa.string()),
        ("likelihood_gain", pa.float32()),  # NaN where not asked for
        ("similarity", pa.float32()),  # likewise
    ]
)


def stage_of(context: Context) -> Stage:
    config = context.config
    inputs = {"encode": encode.stage_of(context).digest, "model": context.model_digest}
    if context.sentence_encoder is not None:
        inputs["sentence encoder"] = context.sentence_encoder.digest
    return context.stage(
        "score",
        {
            "alignment": config.alignment,
            "num_contrast": config.num_contrast,
            "decoding": vars(config.decoding),
            "bf16": config.bf16,
            "seed": config.seed,
        },
        inputs,
    )


def run(context: Context) -> Stage:
    """Write ``score/<part>.parquet``: key, caption_generated, likelihood_gain, similarity."""
    stage = stage_of(context)
    stage.open()
    if stage.is_done():
        return stage
    mine = context.my_parts(stage)
    scorer = None
    if mine:
        context.model.to(context.device).eval()
        codes = cluster.load_codes(context)[1]
        scorer = CaptionScorer(context.model, context.config, codes, context.sentence_encoder)
    counts, seconds = run_parts(context, stage, mine, partial(_score_part, context, encode.stage_of(context), scorer))
    finish_on_first(stage, counts, seconds)
    return stage


def _score_part(context: Context, source: Stage, scorer: CaptionScorer, part: Part) -> pa.Table:
    table = context.load_part(source, part.name, ["key", "caption_original", "codes"])
    table = table.filter(table["codes"].is_valid())
    codes = torch.from_numpy(encode.codes_of(table, context.model.num_patches).astype(np.int64)).to(context.device)
    with context.autocast():
        scores = scorer(codes, table["caption_original"].to_pylist())
    return pa.table({"key": table["key"], **scores}, schema=SCHEMA)
