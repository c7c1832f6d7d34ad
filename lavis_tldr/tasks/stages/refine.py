"""Refine: what becomes the caption of each kept sample (paper, sec. 3.2)."""

import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from lavis.common.dist_utils import is_main_process
from tqdm import tqdm

from lavis_tldr.reduction.ledger import join_by_key
from lavis_tldr.reduction.refinement import refine_captions
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.tasks.stages import encode, score, select
from lavis_tldr.tasks.stages.context import Context, finish_on_first, write_table


def stage_of(context: Context) -> Stage:
    config = context.config
    settings = {
        "recipe": config.recipe,
        "joiner": config.joiner,
        "decoding": vars(config.decoding),
        "bf16": config.bf16,
    }
    if config.recipe == "gated":
        settings["alignment_threshold"] = config.alignment_threshold
    return context.stage("refine", settings, {"select": select.stage_of(context).digest, "model": context.model_digest})


def run(context: Context) -> Stage:
    """Write ``refine/<part>.parquet``: key, caption_generated, caption, caption_from of the kept samples."""
    stage = stage_of(context)
    stage.open()
    if stage.is_done():
        return stage
    started = time.monotonic()
    mine = context.my_parts(stage)
    selection = pq.read_table(
        select.stage_of(context).folder / "selection.parquet", columns=["key", "alignment", "kept"]
    )
    selection = selection.filter(selection["kept"])
    count = 0
    for part in tqdm(mine, desc="refine", unit="part", disable=not is_main_process()):
        table = context.load_part(encode.stage_of(context), part.name, ["key", "caption_original", "codes"])
        table = table.filter(pc.is_in(table["key"], selection["key"].combine_chunks()))
        alignment = selection.filter(pc.is_in(selection["key"], table["key"].combine_chunks()))
        table = join_by_key(table, alignment.select(["key", "alignment"]), left_name="encode", right_name="selection")
        generated = _generated(context, part.name, table)
        captions, origins = refine_captions(
            table["caption_original"].to_pylist(),
            generated,
            context.config.recipe,
            alignment=table["alignment"].to_numpy(),
            threshold=context.config.alignment_threshold,
            joiner=context.config.joiner,
        )
        columns = {"key": table["key"], "caption_generated": generated, "caption": captions, "caption_from": origins}
        schema = pa.schema([(name, pa.string()) for name in columns])
        write_table(stage, f"{part.name}.parquet", pa.table(columns, schema=schema))
        count += table.num_rows
    finish_on_first(stage, {"read": count}, time.monotonic() - started)
    return stage


def _generated(context: Context, part_name: str, table: pa.Table) -> list[str]:
    """Captions of the samples of a part, from the score stage where it has made them."""
    if context.config.needs_scores:
        scored = context.load_part(score.stage_of(context), part_name, ["key", "caption_generated"])
        scored = scored.filter(pc.is_in(scored["key"], table["key"].combine_chunks()))
        joined = join_by_key(table.select(["key"]), scored, left_name="refine", right_name="score")
        return joined["caption_generated"].to_pylist()
    context.model.to(context.device).eval()
    codes = torch.from_numpy(encode.codes_of(table).astype(np.int64))
    captions = []
    for block in codes.split(context.config.batch_size_eval):
        with context.autocast():
            captions += context.model.generate_from_codes(block.to(context.device), context.config.decoding)
    return captions
