"""Features of images by the captioner's encoder, from a cache or computed."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lavis_tldr.codebook.precision import inference
from lavis_tldr.datasets.feature_cache import FeatureCache
from lavis_tldr.datasets.source_parts import LoadedBatch, LocatedImages, join_images
from lavis_tldr.datasets.unreadable import UnreadableTally, tell
from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.frozen_encoder import FrozenEncoder
from lavis_tldr.models.image_encoding import pool_tokens
from lavis_tldr.progress import progress
from lavis_tldr.sources import ImageLocation

logger = logging.getLogger(__name__)


def encoder_fingerprint(model: CodebookCaptioner | FrozenEncoder) -> str:
    """What features depend on: the weights themselves (a checkpoint may have brought them), and the sizes."""
    encoder = model.visual_encoder
    (image_size, _), (patch_size, _) = encoder.patch_embed.img_size, encoder.patch_embed.patch_size
    heads = encoder.blocks[0].attn.num_heads
    return f"{model.encoder_digest()} image_size={image_size} patch_size={patch_size} heads={heads} with [CLS]"


def load_images(
    batches: Iterable[list[tuple[str, ImageLocation]]],
    vis_processor: Callable,
    num_workers: int,
    device: torch.device | str = "cpu",
) -> Iterator[LoadedBatch]:
    """Load batches of images, by key and place, in their order, on the CPU; loader processes read ahead.

    Args:
        batches: What to load.
        vis_processor: Maps a PIL image to a tensor.
        num_workers: Loader processes.
        device: Where they will go: for CUDA they are pinned, so that ``to(device, non_blocking=True)`` does not wait.
    """
    return iter(
        DataLoader(
            LocatedImages(vis_processor),
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=join_images,
            pin_memory=torch.device(device).type == "cuda",
        )
    )


def encode_images(
    model: CodebookCaptioner | FrozenEncoder,
    places: Mapping[str, ImageLocation],
    vis_processor: Callable,
    *,
    bf16: bool,
    batch_size: int = 64,
    num_workers: int = 0,
    unreadable_list: Path | None = None,
) -> Iterator[tuple[list[str], Tensor]]:
    """The encoder's output, batch by batch; images that can't be read are left out, with a warning.

    Args:
        model: On its device, in eval mode.
        places: Where each image is, by key.
        vis_processor: Maps a PIL image to a tensor.
        bf16: Encode in bfloat16.
        batch_size: Images encoded at once.
        num_workers: Loader processes.
        unreadable_list: File to list the images in that can't be read, or None.

    Yields:
        Keys of B images, and their tokens, [CLS] first, (B, 1 + L, D), float32, on the CPU.
    """
    wanted = list(places.items())
    batches = [wanted[start : start + batch_size] for start in range(0, len(wanted), batch_size)]
    loaded = load_images(batches, vis_processor, num_workers, model.device)
    unreadable = UnreadableTally("it is left out")
    for batch in progress(loaded, "image features", "batch", total=len(batches)):
        for key, error in batch.errors.items():
            unreadable.add(key, error)
        if batch.keys:
            pixels = batch.pixels.to(model.device, non_blocking=True)
            with inference(model.device.type, bf16=bf16):
                tokens = model.encode_tokens(pixels)
            yield batch.keys, tokens.float().cpu()
    untold = unreadable.take_untold()
    if unreadable_list:
        tell(untold, len(wanted), unreadable_list)
    elif untold:
        logger.warning("%s of %s images can't be read and are left out.", f"{len(untold):,}", f"{len(wanted):,}")


def pooled_features(
    model: CodebookCaptioner,
    places: Mapping[str, ImageLocation],
    vis_processor: Callable,
    cached: FeatureCache | None,
    **options,
) -> dict[str, Tensor]:
    """The pooled feature (`pool_tokens`) of each readable image, (2 D,), by key.

    Args:
        cached: Features computed before, taken where they are; the other images are encoded.
        options: As `encode_images` takes them, like the other arguments.
    """
    known = [key for key in places if cached is not None and key in cached]
    found = {key: pool_tokens(torch.from_numpy(cached[key].astype(np.float32))[None])[0] for key in known}
    missing = {key: place for key, place in places.items() if key not in found}
    for keys, tokens in encode_images(model, missing, vis_processor, **options):
        found.update(zip(keys, pool_tokens(tokens), strict=True))
    return found
