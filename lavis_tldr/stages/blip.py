"""What BLIP makes of a part's images, which it reads from where they lie.

Shapes: N rows of encode's table, B of them at once, E width of BLIP's common space.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from torch import Tensor

from lavis_tldr.datasets.image_features import load_images
from lavis_tldr.exports.pairs import location_of
from lavis_tldr.runs.stages import PLACE
from lavis_tldr.stages.context import Context


def score_captions(context: Context, kind: str, rows: pa.Table, captions: list[str]) -> np.ndarray:
    """The kind asked for, itm or itc, of a caption for each row, (N,), float32; NaN where the image is gone."""
    of_pairs = {"itm": context.blip.match, "itc": context.blip.similarity}[kind]

    def of_batch(images: Tensor, places: list[int]) -> Tensor:
        return of_pairs(images, [captions[place] for place in places])[:, None]

    return _of_images(context, rows, of_batch, 1)[:, 0]


def embed_images(context: Context, rows: pa.Table) -> np.ndarray:
    """Image features, (N, E), float32.

    Raises:
        ValueError: If an image is gone.
    """
    width = context.blip.model.vision_proj.out_features
    found = _of_images(context, rows, lambda images, _: context.blip.embed_images(images), width)
    if gone := int(np.isnan(found).any(1).sum()):
        raise ValueError(
            f"{gone} images can't be read any more though they were encoded (the first are named above): restore them, "
            "or encode what is left with `--restart encode`."
        )
    return found


def _of_images(
    context: Context, rows: pa.Table, of_batch: Callable[[Tensor, list[int]], Tensor], width: int
) -> np.ndarray:
    """Values of images, (N, width); NaN, counted in `Context.unreadable`, where one can't be read.

    Args:
        context: The run.
        rows: With columns `PLACE`.
        of_batch: Values of B images, (B, width), given their pixels and their places among the rows.
        width: Values an image.
    """
    context.blip.model.to(context.device)
    found = np.full((len(rows), width), np.nan, np.float32)
    # An image's place stands for its key: it comes back with the pixels.
    wanted = [(str(place), location_of(row)) for place, row in enumerate(rows.select(PLACE).to_pylist())]
    size = context.config.batch_size_eval
    batches = [wanted[start : start + size] for start in range(0, len(wanted), size)]
    for batch in load_images(batches, context.blip.vis_processor, context.config.num_workers, context.device):
        for place, error in batch.errors.items():
            context.unreadable.add(rows["image_path"][int(place)].as_py(), error)
        if batch.keys:
            places = [int(place) for place in batch.keys]
            with context.autocast():
                values = of_batch(batch.pixels.to(context.device, non_blocking=True), places)
            found[places] = values.float().cpu().numpy()
    return found
