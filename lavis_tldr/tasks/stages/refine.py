"""Refine: what becomes the caption of each kept sample (paper, sec. 3.2)."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from lavis_tldr.reduction.ledger import join_by_key
from lavis_tldr.reduction.refinement import refine_captions
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.sources import Part
from lavis_tldr.tasks.stages import encode, score, select
from lavis_tldr.tasks.stages.context import Context, finish_on_first, run_parts

SCHEMA = pa.schema([(name, pa.string()) for name in ("key", "caption_generated", "caption", "caption_from")])


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


def run(context: Context, stage: Stage) -> None:
    """Write ``refine/<part>.parquet``: key, caption_generated, caption, caption_from of the kept samples."""
    mine = context.my_parts(stage)
    kept = _kept_by_part(context, mine)
    source = encode.stage_of(context)
    scores = score.stage_of(context) if context.config.captions_all else None
    counts, seconds = run_parts(
        context, stage, mine, lambda part: _refine_part(context, source, scores, part, kept[part.name])
    )
    finish_on_first(stage, counts, seconds)


def _kept_by_part(context: Context, parts: list[Part]) -> dict[str, pa.Table]:
    """Key and alignment of the kept samples of each part."""
    selection = pq.read_table(
        select.stage_of(context).folder / "selection.parquet", columns=["key", "alignment", "kept"]
    )
    selection = selection.filter(selection["kept"]).select(["key", "alignment"])
    source = encode.stage_of(context)
    keys = [context.load_part(source, part.name, ["key"])["key"].combine_chunks() for part in parts]
    # All parts looked up at once: the look-up table over the selection is dear.
    rows = pc.index_in(pa.chunked_array(keys, pa.string()), value_set=selection["key"]).to_numpy()
    found, start = {}, 0
    for part, part_keys in zip(parts, keys, strict=True):
        mine = rows[start : start + len(part_keys)]
        found[part.name] = selection.take(mine[~np.isnan(mine)].astype(np.int64))
        start += len(part_keys)
    return found


def _refine_part(context: Context, source: Stage, scores: Stage | None, part: Part, kept: pa.Table) -> pa.Table:
    table = context.load_part(source, part.name, ["key", "caption_original", "codes"])
    table = table.filter(pc.is_in(table["key"], kept["key"].combine_chunks()))
    table = join_by_key(table, kept, left_name="encode", right_name="selection")
    generated = _generated(context, scores, part.name, table)
    captions, origins = refine_captions(
        table["caption_original"].to_pylist(),
        generated,
        context.config.recipe,
        alignment=table["alignment"].to_numpy(),
        threshold=context.config.alignment_threshold,
        joiner=context.config.joiner,
    )
    columns = {"key": table["key"], "caption_generated": generated, "caption": captions, "caption_from": origins}
    return pa.table(columns, schema=SCHEMA)


def _generated(context: Context, scores: Stage | None, part_name: str, table: pa.Table) -> list[str]:
    """Captions of the samples of a part, from the score stage where it has made them."""
    if scores is not None:
        scored = context.load_part(scores, part_name, ["key", "caption_generated"])
        scored = scored.filter(pc.is_in(scored["key"], table["key"].combine_chunks()))
        joined = join_by_key(table.select(["key"]), scored, left_name="refine", right_name="score")
        return joined["caption_generated"].to_pylist()
    context.model.to(context.device).eval()
    codes = torch.from_numpy(encode.codes_of(table, context.model.num_patches).astype(np.int64))
    captions = []
    for block in codes.split(context.config.batch_size_eval):
        if len(block):
            with context.autocast():
                captions += context.model.generate_from_codes(block.to(context.device), context.config.decoding)
    return captions
