"""Refine: what becomes the caption of each kept sample (paper, sec. 3.2)."""

import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.reduction.refinement import refine_captions
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.reduction.tables import join_by_key
from lavis_tldr.sources import Part
from lavis_tldr.tasks.stages import caption, encode, select
from lavis_tldr.tasks.stages.context import Context, finish_on_first, run_parts

SCHEMA = pa.schema([(name, pa.string()) for name in ("key", "caption_generated", "caption", "caption_from")])


def stage_of(context: Context) -> Stage:
    return context.stage("refine", lambda: (settings(context), _inputs(context)))


def _inputs(context: Context) -> dict[str, str]:
    inputs = {"select": select.stage_of(context).digest, "model": context.model_digest}
    return inputs | ({"caption": caption.stage_of(context).digest} if context.config.captions_all else {})


def settings(context: Context) -> dict:
    """What decides a caption, given its image's codes."""
    config = context.config
    found = {
        "recipe": config.recipe,
        "joiner": config.joiner,
        "decoding": vars(config.decoding),
        "bf16": config.bf16,
    }
    return found | ({"alignment_threshold": config.alignment_threshold} if config.recipe == "gated" else {})


def run(context: Context, stage: Stage) -> None:
    """Write ``refine/<part>.parquet``: key, caption_generated, caption, caption_from of the kept samples."""
    mine = context.my_parts(stage)
    selection = select.stage_of(context)

    def refined(part: Part) -> pa.Table:
        table = context.load_part(selection, part.name, ["key", "alignment", "kept"])
        return refine_part(context, part, table.filter(table["kept"]).select(["key", "alignment"]))

    counts, seconds = run_parts(context, stage, mine, map(refined, mine))
    finish_on_first(stage, counts, seconds)


def refine_part(context: Context, part: Part, wanted: pa.Table) -> pa.Table:
    """The captions of some samples of a part, by the recipe.

    Args:
        context: The run.
        part: Of the source.
        wanted: key and alignment of the samples.

    Returns:
        Columns of `SCHEMA`, in the order of the part.
    """
    table = context.load_part(encode.stage_of(context), part.name, ["key", "caption_original", "codes"])
    table = table.filter(pc.is_in(table["key"], wanted["key"].combine_chunks()))
    table = join_by_key(table, wanted, left_name="encode", right_name="select")
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
    return pa.table(columns, schema=SCHEMA)


def _generated(context: Context, part_name: str, table: pa.Table) -> list[str]:
    """Captions of the samples of a part, from the stage that captions every image where the config asks for it."""
    if context.config.captions_all:
        return caption.load_captions(context, part_name, table["key"])
    return caption.caption(context, encode.codes_of(table, context.model.num_patches))
