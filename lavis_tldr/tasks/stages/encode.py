"""Encode: the codes of every image (paper, sec. 3.2), part by part."""

import logging
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch
from lavis.common.dist_utils import is_main_process
from torch.utils.data import DataLoader
from tqdm import tqdm

from lavis_tldr.datasets.source_parts import LocatedImages
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.sources import Part, Record
from lavis_tldr.tasks.stages.context import Context, finish_on_first, write_table


def stage_of(context: Context) -> Stage:
    inputs = {f"part {part.name}": part.digest for part in context.parts.source.parts}
    return context.stage(
        "encode",
        {
            "source": context.parts.source.describe(),
            "bf16": context.config.bf16,
            "cached_features": context.cached_features is not None,
        },
        {"model": context.model_digest, **inputs},
    )


def run(context: Context) -> Stage:
    """Write ``encode/<part>.parquet`` for each part that is not there yet.

    Raises:
        ValueError: If no record of the source can be used.
    """
    stage = stage_of(context)
    stage.open()
    if stage.is_done():
        return stage
    started = time.monotonic()
    mine = context.my_parts(stage)
    context.model.to(context.device).eval()
    for part in tqdm(mine, desc="encode", unit="part", disable=not is_main_process()):
        part_started = time.monotonic()
        table = _encode_part(context, part)
        failed = int(np.sum(np.array(table["error"].to_pylist(), dtype=object) != ""))
        write_table(stage, f"{part.name}.parquet", table)
        seconds = round(time.monotonic() - part_started, 2)
        stage.note_part(part.name, {"read": table.num_rows, "failed": failed, "seconds": seconds})
    if is_main_process():
        logging.info("encode: %d parts by this process", len(mine))
    _finish(context, stage, time.monotonic() - started)
    return stage


def _encode_part(context: Context, part: Part) -> pa.Table:
    records = [_without_image(record) for record in context.parts.source.read(part)]
    errors = {record.key: record.error for record in records}
    # Pairs of one image share one encoding; an image is encoded even where its caption is missing or not, once.
    wanted = {record.image_key: record.location for record in records if not record.error}
    image_keys = list(wanted)
    codes: dict[str, np.ndarray] = {}
    unreadable: dict[str, str] = {}
    cached = context.cached_features or {}
    for keys in _blocks([key for key in image_keys if key in cached], context.config.batch_size_eval):
        features = torch.from_numpy(np.stack([cached[key] for key in keys]))
        found = _codes(context, {"image_features": features})
        codes.update(zip(keys, found, strict=True))
    image_keys = [key for key in image_keys if key not in cached]
    loader = DataLoader(
        LocatedImages([wanted[key] for key in image_keys], context.parts.vis_processor),
        batch_size=context.config.batch_size_eval,
        num_workers=context.config.num_workers,
        collate_fn=list,
    )
    for batch in loader:
        readable = [(image_keys[i], image) for i, image, error in batch if image is not None]
        unreadable.update({image_keys[i]: error for i, image, error in batch if image is None})
        if not readable:
            continue
        found = _codes(context, {"image": torch.stack([image for _, image in readable])})
        codes.update(zip([key for key, _ in readable], found, strict=True))
    for record in records:
        if not errors[record.key] and record.image_key in unreadable:
            errors[record.key] = unreadable[record.image_key]
    length = context.model.num_patches
    usable = np.array([not errors[r.key] for r in records], dtype=bool)
    return pa.table(
        {
            "key": [r.key for r in records],
            "image_key": [r.image_key for r in records],
            "caption_original": [r.caption for r in records],
            "error": [errors[r.key] for r in records],
            "image_path": [r.location.path if r.location else "" for r in records],
            "image_offset": pa.array([r.location.offset if r.location else -1 for r in records], pa.int64()),
            "image_size": pa.array([r.location.size if r.location else -1 for r in records], pa.int64()),
            "codes": _code_lists([codes[r.image_key] for r in records if not errors[r.key]], usable, length),
        }
    )


def _codes(context: Context, samples: dict) -> np.ndarray:
    """Codes of a batch, (B, L), uint16."""
    with context.autocast():
        return context.model.image_codes(samples).cpu().numpy().astype(np.uint16)


def _blocks(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _code_lists(codes: list[np.ndarray], usable: np.ndarray, length: int) -> pa.ListArray:
    """Codes of the usable records as lists of ``length``, null for the others."""
    # Not lists of fixed size: Parquet readers refuse those with nulls.
    ends = np.append(0, np.cumsum(usable)) * length
    values = np.concatenate(codes) if codes else np.zeros(0, np.uint16)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values), mask=pa.array(~usable))


def _without_image(record: Record) -> Record:
    # Loader processes read the bytes again where they need them: a part's images need not fit in memory.
    return Record(record.key, record.image_key, record.caption, record.error, record.location, None)


def _finish(context: Context, stage: Stage, seconds: float) -> None:
    counts = {}
    if is_main_process() and not stage.pending(context.part_names):
        errors = np.array(context.load(stage, ["error"])["error"].to_pylist(), dtype=object)
        counts = {"read": len(errors), "written": int((errors == "").sum()), "failed": int((errors != "").sum())}
        if counts["read"] and not counts["written"]:
            raise ValueError(
                f"none of the {len(errors)} records can be used (first error: {errors[0]}). Check the source's image "
                "files and captions."
            )
    finish_on_first(stage, counts, seconds)


def codes_of(table: pa.Table) -> np.ndarray:
    """The codes of a table's rows without error, (N, L), uint16."""
    column = table["codes"].combine_chunks()
    column = column.drop_null()
    return column.flatten().to_numpy().reshape(len(column), -1)
