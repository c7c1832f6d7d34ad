"""Caption: what the captioner says of every image, kept or not, for all reduced sets of the run folder."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.models.image_encoding import ImageEncoding
from lavis_tldr.models.sampling import SamplingOptions, uniforms_of
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import STAGES
from lavis_tldr.runs.tables import join_by_key
from lavis_tldr.sources import Part
from lavis_tldr.stages import encode
from lavis_tldr.stages.context import Context, Given, finish_on_first, run_parts


def given(context: Context) -> Given:
    return Given(inputs={"model": context.model_digest})


def run(context: Context, stage: Stage) -> None:
    """Write ``caption/<part>.parquet``: key and captions of the usable samples."""
    mine = context.my_parts(stage)
    counts, seconds = run_parts(context, stage, mine, _captioned(context, mine))
    finish_on_first(stage, counts, seconds)


def _captioned(context: Context, parts: list[Part]) -> Iterator[pa.Table]:
    for part in parts:
        rows = encode.load_usable(context, part.name, ["key", "image_key", "codes", "feature"])
        columns = {"key": rows["key"], "caption_generated": caption(context, encode.images_of(rows, context.model))}
        if context.config.num_sampled:
            columns["captions_sampled"] = sampled_captions(context, rows)
        yield pa.table(columns, schema=STAGES["caption"].schema_for(context.config))


def caption(context: Context, images: ImageEncoding) -> list[str]:
    """Captions of N images."""
    context.model.to(context.device).eval()
    captions = []
    for block in images.split(context.config.batch_size_eval):
        with context.autocast():
            captions += context.model.generate_from(block.to(context.device), context.config.decoding)
    return captions


def sampled_captions(context: Context, rows: pa.Table) -> list[list[str]]:
    """``num_sampled`` captions of each image, drawn by its key.

    Args:
        context: The run.
        rows: Of encode's table, with image_key, codes and feature.
    """
    context.model.to(context.device).eval()
    config, images = context.config, encode.images_of(rows, context.model)
    priorities = draw_priority(rows["image_key"].to_pylist(), config.alignment_seed)
    sampling = SamplingOptions(config.temperature, config.top_p)
    found = []
    for start in range(0, len(images), config.batch_size_eval):
        block = slice(start, start + config.batch_size_eval)
        uniforms = uniforms_of(priorities[block], config.num_sampled, config.max_len)
        with context.autocast():
            moved = images[block].to(context.device)
            found += context.model.sample_from(moved, config.decoding, sampling, uniforms)
    return found


def load_captions(
    context: Context, part_name: str, keys: pa.ChunkedArray, column: str = "caption_generated"
) -> list[str] | list[list[str]]:
    """The stage's captions of some samples of a part, in the order of ``keys``."""
    found = context.load_part(context.stage("caption"), part_name, ["key", column])
    found = found.filter(pc.is_in(found["key"], keys.combine_chunks()))
    joined = join_by_key(pa.table({"key": keys}), found, left_name="those to caption", right_name="caption")
    return joined[column].to_pylist()
