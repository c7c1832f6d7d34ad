"""Encode: the codes of every image (paper, sec. 3.2), part by part."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from lavis.common.dist_utils import is_main_process
from PIL import Image

from lavis_tldr.datasets.image_features import load_images
from lavis_tldr.models.collectives import from_all_ranks, share
from lavis_tldr.models.image_encoding import ImageEncoding
from lavis_tldr.models.late_copy import LateCopy
from lavis_tldr.progress import progress
from lavis_tldr.runs.code_tables import CodeStatistics, code_statistics, list_column, rows_of, with_code_statistics
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import STAGES
from lavis_tldr.sources import ImageLocation, Part, Record, check_unique_keys
from lavis_tldr.sources.record import METADATA
from lavis_tldr.stages.context import Context, Given, finish_on_first, run_parts

logger = logging.getLogger(__name__)

_DIGEST_THREADS = 8


def given(context: Context) -> Given:
    settings = {
        "source": context.parts.source.describe(),
        "vis_processor": context.parts.processor_config,
        "cached_features": context.cached_features is not None,
        "feature": "mean and [CLS]",
    }
    return Given(settings, {"model": context.model_digest, **_part_digests(context)})


def _part_digests(context: Context) -> dict[str, str]:
    """Digests of the source's parts; each process reads its share of them."""
    mine = share(context.parts_by_name)
    with ThreadPoolExecutor(_DIGEST_THREADS) as pool:  # reading and hashing leave the interpreter's lock
        digests = pool.map(context.parts.source.digest, mine)
        digests = list(progress(digests, "digests of the source", "part", total=len(mine)))
    mine = [(f"part {part.name}", digest) for part, digest in zip(mine, digests, strict=True)]
    return dict(sorted(item for found in from_all_ranks(mine) for item in found))


def run(context: Context, stage: Stage) -> None:
    """Write ``encode/<part>.parquet`` for each part that is not there yet.

    Raises:
        ValueError: If no record of the source can be used, if two parts have a key in common, or if a part changes
            while it is read.
    """
    _check_image_size(context.parts.vis_processor, context.model.visual_encoder.patch_embed.img_size)
    context.model.to(context.device).eval()
    mine = context.my_parts(stage)
    counts, seconds = run_parts(context, stage, mine, _encode_parts(context, mine))
    if counts and not counts["written"]:
        raise ValueError(
            f"none of the {counts['read']} records can be used{_first_error(context, stage)}. Check the source's image "
            "files and captions, then run again with `--restart encode`."
        )
    if counts.get("failed"):
        told = f"{counts['failed']:,}", f"{counts['read']:,}", stage.folder
        logger.warning("encode: %s of %s records can't be used; column error of %s says why", *told)
    if is_main_process():
        stage.scratch.mkdir(exist_ok=True)
        check_unique_keys(lambda: _keys_by_part(context, stage), stage.scratch)
    finish_on_first(stage, counts, seconds)


def _keys_by_part(context: Context, stage: Stage) -> Iterator[tuple[str, list[str]]]:
    return ((name, context.load_part(stage, name, ["key"])["key"].to_pylist()) for name in context.part_names)


def _check_image_size(vis_processor: Callable, expected: tuple[int, int]) -> None:
    """Refuse a processor that makes images of another size than the encoder takes, before any is read."""
    found = tuple(vis_processor(Image.new("RGB", (64, 48))).shape[-2:])
    if found != tuple(expected):
        raise ValueError(
            f"datasets.tldr_source.vis_processor makes images of {found[0]} x {found[1]}, but the captioner takes "
            f"{expected[0]} x {expected[1]}: set vis_processor.eval.image_size to {expected[0]}."
        )


def _first_error(context: Context, stage: Stage) -> str:
    for table in context.load_parts(stage, ["error"]):
        if table.num_rows:
            return f" (first error: {table['error'][0].as_py()})"
    return ""


@dataclass
class _PartWork:
    """A part on its way through the encoder.

    Attributes:
        records: All its records, without image bytes.
        errors: Why each key can't be used, "" where it can.
        codes: (L,), uint16, by image key.
        pooled: What `pool_tokens` makes of the image, (2 D,), float16, by image key.
    """

    records: list[Record]
    errors: dict[str, str]
    codes: dict[str, np.ndarray] = field(default_factory=dict)
    pooled: dict[str, np.ndarray] = field(default_factory=dict)


def _encode_parts(context: Context, parts: list[Part]) -> Iterator[pa.Table]:
    """The table of each part, in order; the loader is already reading the next part's images while one is encoded."""
    opened: deque[_PartWork] = deque()
    wanted, processor = _batches(context, parts, opened), context.parts.vis_processor
    batches = load_images(wanted, processor, context.config.num_workers, context.device)
    for part in parts:
        unreadable: dict[str, str] = {}
        pending: deque[tuple[list[str], LateCopy]] = deque()
        for batch in batches:
            work = opened[0]
            if not len(batch):  # the part's end
                break
            unreadable.update(batch.errors)
            if batch.keys:
                images = batch.pixels.to(context.device, non_blocking=True)
                with context.autocast():
                    encoded = context.model.quantize_tokens(context.model.encode_tokens(images))
                pending.append((batch.keys, LateCopy(encoded)))
                if len(pending) > 1:
                    _take_codes(*pending.popleft(), work)
        work = opened.popleft()
        for keys, encoded in pending:
            _take_codes(keys, encoded, work)
        context.parts.source.check_unchanged(part)
        for record in work.records:
            if not work.errors[record.key] and record.image_key in unreadable:
                work.errors[record.key] = unreadable[record.image_key]
        yield _table(context, work)


def _batches(
    context: Context, parts: list[Part], opened: deque[_PartWork]
) -> Iterator[list[tuple[str, ImageLocation]]]:
    """Batches of images to load, part after part, each part closed by an empty batch; says what it opens."""
    cached = context.cached_features or {}
    size = context.config.batch_size_eval
    for records in _read_ahead(context, parts):
        work = _PartWork(records, {record.key: record.error for record in records})
        opened.append(work)
        # Pairs of one image share one encoding, and an image without a usable caption needs none.
        wanted = {record.image_key: record.location for record in records if not record.error}
        for keys in _blocks([key for key in wanted if key in cached], size):
            tokens = torch.from_numpy(np.stack([cached[key] for key in keys])).to(context.device).float()
            with context.autocast():
                encoded = context.model.quantize_tokens(tokens)
            _take_codes(keys, LateCopy(encoded), work)
        yield from _blocks([(key, place) for key, place in wanted.items() if key not in cached], size)
        yield []


def _read_ahead(context: Context, parts: list[Part]) -> Iterator[list[Record]]:
    """The records of each part; those of the next are read, in a thread, while the images of one are loaded."""

    def read(part: Part) -> list[Record]:
        # Loader processes read the bytes: a part's images need not fit in memory.
        return [_storable(record) for record in context.parts.source.read(part, images=False)]

    with ThreadPoolExecutor(1) as thread:
        following = deque(thread.submit(read, part) for part in parts[:1])
        for number in range(len(parts)):
            records = following.popleft().result()
            following.extend(thread.submit(read, part) for part in parts[number + 1 : number + 2])
            yield records


def _storable(record: Record) -> Record:
    """The record; without its image, and with an error, where no table can hold the image's path."""
    try:
        (record.location.path if record.location else "").encode()
        return record
    except UnicodeEncodeError:
        error = record.error or "unreadable image: its path is not UTF-8"
        return replace(record, error=error, location=None)


def _take_codes(keys: list[str], encoded: LateCopy, work: _PartWork) -> None:
    """Keep codes and pooled features of B images."""
    images = encoded()
    work.codes.update(zip(keys, images.codes.numpy().astype(np.uint16), strict=True))
    work.pooled.update(zip(keys, images.pooled.numpy().astype(np.float16), strict=True))


def _blocks(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _table(context: Context, work: _PartWork) -> pa.Table:
    records, errors = work.records, work.errors
    usable = [not errors[record.key] for record in records]
    image_keys = [record.image_key for record in records if not errors[record.key]]
    places = [record.location or ImageLocation("") for record in records]
    codes = np.array([work.codes[key] for key in image_keys], np.uint16).reshape(-1, context.model.num_patches)
    pooled = np.array([work.pooled[key] for key in image_keys], np.float16).reshape(-1, context.model.pooled_width)
    table = pa.table(
        {
            "key": [record.key for record in records],
            "image_key": [record.image_key for record in records],
            "caption_original": [record.caption for record in records],
            "error": [errors[record.key] for record in records],
            "image_path": [place.path for place in places],
            "image_offset": [place.offset for place in places],
            "image_size": [place.size for place in places],
            "codes": list_column(codes, usable),
            "feature": list_column(pooled, usable),
            **{name: [getattr(record, name) for record in records] for name in METADATA},
        },
        schema=STAGES["encode"].schema,
    )
    return with_code_statistics(table, codes, context.model.quantizer.num_codes)


def statistics(context: Context) -> CodeStatistics:
    """What the codes of the whole set add up to."""
    stage = context.stage("encode")
    return code_statistics(map(stage.part_path, context.part_names), context.model.quantizer.num_codes)


def load_usable(context: Context, part_name: str, columns: list[str]) -> pa.Table:
    """Columns of a part's usable records."""
    table = context.load_part(context.stage("encode"), part_name, [*columns, "error"])
    return table.filter(pc.equal(table["error"], ""))


def codes_of(table: pa.Table, num_patches: int) -> np.ndarray:
    """The codes of a table's rows without error, (N, L), uint16."""
    return rows_of(table["codes"], num_patches, np.uint16)


def load_images_of(context: Context, part_name: str) -> ImageEncoding:
    """The images of a part's usable records."""
    table = context.load_part(context.stage("encode"), part_name, ["codes", "feature"])
    return images_of(table, context.model)


def images_of(table: pa.Table, model) -> ImageEncoding:
    """The images of a table's rows without error, by their codes and features."""
    codes = torch.from_numpy(codes_of(table, model.num_patches).astype(np.int64))
    return ImageEncoding(codes, torch.from_numpy(features_of(table, model.pooled_width)))


def features_of(table: pa.Table, width: int) -> np.ndarray:
    """The pooled features of a table's rows without error, (N, 2 D), float32."""
    return rows_of(table["feature"], width, np.float16).astype(np.float32)
