"""Encode: the codes of every image (paper, sec. 3.2), part by part."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lavis_tldr.datasets.source_parts import LocatedImages
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.sources import ImageLocation, Part, Record
from lavis_tldr.tasks.stages.context import Context, finish_on_first, run_parts

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image_key", pa.string()),
        ("caption_original", pa.string()),
        ("error", pa.string()),  # "" where usable
        ("image_path", pa.string()),
        ("image_offset", pa.int64()),  # -1: the whole file
        ("image_size", pa.int64()),
        ("codes", pa.list_(pa.uint16())),  # L of them; null where there is an error
        ("feature", pa.list_(pa.float16())),  # mean patch feature before quantizing, D wide; null likewise
    ]
)


def stage_of(context: Context) -> Stage:
    inputs = {f"part {part.name}": context.parts.source.digest(part) for part in context.parts.source.parts}
    return context.stage(
        "encode",
        {
            "source": context.parts.source.describe(),
            "vis_processor": context.parts.processor_config,
            "bf16": context.config.bf16,
            "cached_features": context.cached_features is not None,
        },
        {"model": context.model_digest, **inputs},
    )


def run(context: Context, stage: Stage) -> None:
    """Write ``encode/<part>.parquet`` for each part that is not there yet.

    Raises:
        ValueError: If no record of the source can be used.
    """
    _check_image_size(context)
    context.model.to(context.device).eval()
    counts, seconds = run_parts(context, stage, context.my_parts(stage), partial(_encode_part, context))
    if counts and not counts["written"]:
        raise ValueError(
            f"none of the {counts['read']} records can be used{_first_error(context, stage)}. Check the source's image "
            "files and captions, then run again with `--restart encode`."
        )
    finish_on_first(stage, counts, seconds)


def _check_image_size(context: Context) -> None:
    """Refuse a processor that makes images of another size than the encoder takes, before any is read."""
    found = tuple(context.parts.vis_processor(Image.new("RGB", (64, 48))).shape[-2:])
    expected = tuple(context.model.visual_encoder.patch_embed.img_size)
    if found != expected:
        raise ValueError(
            f"datasets.tldr_source.vis_processor makes images of {found[0]} x {found[1]}, but the captioner takes "
            f"{expected[0]} x {expected[1]}: set vis_processor.eval.image_size to {expected[0]}."
        )


def _first_error(context: Context, stage: Stage) -> str:
    errors = context.load(stage, ["error"])["error"]
    return f" (first error: {errors[0].as_py()})" if len(errors) else ""


def _encode_part(context: Context, part: Part) -> pa.Table:
    records = [_without_image(record) for record in context.parts.source.read(part)]
    errors = {record.key: record.error for record in records}
    # Pairs of one image share one encoding, and an image without a usable caption needs none.
    wanted = {record.image_key: record.location for record in records if not record.error}
    image_keys = list(wanted)
    codes: dict[str, np.ndarray] = {}
    pooled: dict[str, np.ndarray] = {}
    unreadable: dict[str, str] = {}
    cached = context.cached_features or {}
    for keys in _blocks([key for key in image_keys if key in cached], context.config.batch_size_eval):
        features = torch.from_numpy(np.stack([cached[key] for key in keys]))
        _encode_batch(context, keys, {"image_features": features}, codes, pooled)
    image_keys = [key for key in image_keys if key not in cached]
    loader = DataLoader(
        LocatedImages([wanted[key] for key in image_keys], context.parts.vis_processor),
        batch_size=context.config.batch_size_eval,
        num_workers=context.config.num_workers,
        collate_fn=list,
    )
    for batch in loader:
        unreadable.update({image_keys[i]: error for i, image, error in batch if image is None})
        readable = [(image_keys[i], image) for i, image, error in batch if image is not None]
        if readable:
            images = torch.stack([image for _, image in readable])
            _encode_batch(context, [key for key, _ in readable], {"image": images}, codes, pooled)
    for record in records:
        if not errors[record.key] and record.image_key in unreadable:
            errors[record.key] = unreadable[record.image_key]
    length, width = context.model.num_patches, context.model.encoder_width
    usable = np.array([not errors[r.key] for r in records], dtype=bool)
    places = [r.location or ImageLocation("") for r in records]
    return pa.table(
        {
            "key": [r.key for r in records],
            "image_key": [r.image_key for r in records],
            "caption_original": [r.caption for r in records],
            "error": [errors[r.key] for r in records],
            "image_path": [place.path for place in places],
            "image_offset": [place.offset for place in places],
            "image_size": [place.size for place in places],
            "codes": _lists([codes[r.image_key] for r in records if not errors[r.key]], usable, length, np.uint16),
            "feature": _lists([pooled[r.image_key] for r in records if not errors[r.key]], usable, width, np.float16),
        },
        schema=SCHEMA,
    )


def _encode_batch(context: Context, keys: list[str], samples: dict, codes: dict, pooled: dict) -> None:
    """Add the codes (L,), uint16, and the mean feature (D,), float16, of a batch of images."""
    with context.autocast():
        features = context.model.image_features(samples)  # (B, L, D)
        found = context.model.quantizer.encode(features).cpu().numpy().astype(np.uint16)
        means = features.float().mean(1).cpu().numpy().astype(np.float16)
    codes.update(zip(keys, found, strict=True))
    pooled.update(zip(keys, means, strict=True))


def _blocks(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _lists(rows: list[np.ndarray], usable: np.ndarray, length: int, dtype: type) -> pa.ListArray:
    """Rows of the usable records as lists of ``length``, null for the others."""
    # Not lists of fixed size: Parquet readers refuse those with nulls.
    ends = np.append(0, np.cumsum(usable)) * length
    values = np.concatenate(rows) if rows else np.zeros(0, dtype)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values), mask=pa.array(~usable))


def _without_image(record: Record) -> Record:
    # Loader processes read the bytes again where they need them: a part's images need not fit in memory.
    return Record(record.key, record.image_key, record.caption, record.error, record.location, None)


def codes_of(table: pa.Table, num_patches: int) -> np.ndarray:
    """The codes of a table's rows without error, (N, L), uint16."""
    return _rows_of(table["codes"], num_patches, np.uint16)


def features_of(table: pa.Table, width: int) -> np.ndarray:
    """The mean patch features of a table's rows without error, (N, D), float32."""
    return _rows_of(table["feature"], width, np.float16).astype(np.float32)


def _rows_of(column: pa.ChunkedArray, width: int, dtype: type) -> np.ndarray:
    found = [chunk.drop_null().flatten().to_numpy() for chunk in column.chunks]
    return np.concatenate([np.zeros(0, dtype), *found]).reshape(-1, width)
