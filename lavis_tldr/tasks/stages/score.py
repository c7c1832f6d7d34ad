"""Score: a generated caption for every sample, and how well the original caption fits its image."""

import time

import numpy as np
import pyarrow as pa
import torch
from lavis.common.dist_utils import is_main_process
from tqdm import tqdm

from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.tasks.alignment import CaptionScorer
from lavis_tldr.tasks.stages import cluster, encode
from lavis_tldr.tasks.stages.context import Context, finish_on_first, write_table


def stage_of(context: Context) -> Stage:
    config = context.config
    return context.stage(
        "score",
        {
            "alignment": config.alignment,
            "num_contrast": config.num_contrast,
            "similarity_weights": config.similarity_weights,
            "decoding": vars(config.decoding),
            "bf16": config.bf16,
            "seed": config.seed,
        },
        {"encode": encode.stage_of(context).digest, "model": context.model_digest},
    )


def run(context: Context) -> Stage:
    """Write ``score/<part>.parquet``: key, caption_generated, likelihood_gain, similarity, alignment."""
    stage = stage_of(context)
    stage.open()
    if stage.is_done():
        return stage
    started = time.monotonic()
    mine = context.my_parts(stage)
    if mine:
        context.model.to(context.device).eval()
        scorer = CaptionScorer(context.model, context.config, cluster.load_codes(context)[1])
    source = encode.stage_of(context)
    count = 0
    for part in tqdm(mine, desc="score", unit="part", disable=not is_main_process()):
        columns = ["key", "caption_original", "codes"]
        table = context.load_part(source, part.name, columns)
        table = table.filter(table["codes"].is_valid())
        codes = torch.from_numpy(encode.codes_of(table).astype(np.int64)).to(context.device)
        with context.autocast():
            scores = scorer(codes, table["caption_original"].to_pylist())
        write_table(stage, f"{part.name}.parquet", pa.table({"key": table["key"], **scores}))
        count += table.num_rows
    finish_on_first(stage, {"read": count}, time.monotonic() - started)
    return stage
