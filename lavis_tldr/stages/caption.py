"""Caption: what the captioner says of every image, kept or not, for all reduced sets of the run folder."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from lavis_tldr.models.image_encoding import ImageEncoding
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import STAGES
from lavis_tldr.runs.tables import join_by_key
from lavis_tldr.sources import Part
from lavis_tldr.stages import encode
from lavis_tldr.stages.context import Context, Given, finish_on_first, run_parts


def given(context: Context) -> Given:
    return Given(inputs={"model": context.model_digest})


def run(context: Context, stage: Stage) -> None:
    """Write ``caption/<part>.parquet``: key and caption_generated of the usable samples."""
    mine = context.my_parts(stage)
    counts, seconds = run_parts(context, stage, mine, _captioned(context, mine))
    finish_on_first(stage, counts, seconds)


def _captioned(context: Context, parts: list[Part]) -> Iterator[pa.Table]:
    for part in parts:
        table = context.load_part(context.stage("encode"), part.name, ["key", "codes", "feature"])
        images = encode.images_of(table, context.model)
        keys = table["key"].filter(table["codes"].is_valid())
        yield pa.table({"key": keys, "caption_generated": caption(context, images)}, schema=STAGES["caption"].schema)


def caption(context: Context, images: ImageEncoding) -> list[str]:
    """Captions of N images."""
    context.model.to(context.device).eval()
    captions = []
    for block in images.split(context.config.batch_size_eval):
        with context.autocast():
            captions += context.model.generate_from(block.to(context.device), context.config.decoding)
    return captions


def load_captions(context: Context, part_name: str, keys: pa.ChunkedArray) -> list[str]:
    """The stage's captions of some samples of a part, in the order of ``keys``."""
    found = context.load_part(context.stage("caption"), part_name, STAGES["caption"].column_names)
    found = found.filter(pc.is_in(found["key"], keys.combine_chunks()))
    joined = join_by_key(pa.table({"key": keys}), found, left_name="those to caption", right_name="caption")
    return joined["caption_generated"].to_pylist()
