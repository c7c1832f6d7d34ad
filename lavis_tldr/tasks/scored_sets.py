"""Embeddings and match logits of a whole evaluation set, of which each process computes its share.

Every function has to be called by all processes, and gives the same to each. Shapes: N images, M texts, E embedding
width.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lavis_tldr.models.collectives import share
from lavis_tldr.models.scorers import ImageTextScorer, ReadImages
from lavis_tldr.progress import progress
from lavis_tldr.tasks.gathering import merge_ranks
from lavis_tldr.tasks.own_share import own_share

logger = logging.getLogger(__name__)

_TEXTS_PER_PASS = 256


def embed_texts(scorer: ImageTextScorer, texts: Sequence[str]) -> np.ndarray:
    """Unit embeddings of texts, (M, E) float32.

    Raises:
        ValueError: If one is NaN or infinite.
    """
    blocks = [slice(first, first + _TEXTS_PER_PASS) for first in range(0, len(texts), _TEXTS_PER_PASS)]
    found = {
        block.start: scorer.embed_texts(list(texts[block])).cpu().numpy()
        for block in progress(share(blocks), "embedding texts", "block")
    }
    return _finite(np.concatenate(list(merge_ranks(found).values())), "texts")


def embed_images(scorer: ImageTextScorer, data_loader) -> np.ndarray:
    """Unit embeddings of a set's images in its order, (N, E) float32.

    Args:
        scorer: The model.
        data_loader: Of the set, shared out among processes or not.

    Raises:
        ValueError: If one is NaN or infinite.
    """
    found = {}
    for numbers, samples in _share_of_images(scorer, data_loader, "embedding images"):
        found.update(zip(numbers, scorer.embed_images(samples).cpu().numpy(), strict=True))
    return _finite(np.stack(list(merge_ranks(found).values())), "images")


def match_logits(
    scorer: ImageTextScorer, data_loader, texts: Sequence[str], wanted: Sequence[np.ndarray], pairs_per_pass: int
) -> np.ndarray:
    """Match logits of pairs, (N, M) float32; NaN where they were not asked for.

    Images are read block by block, as the loader gives them, and none is kept: neither host nor device holds the tokens
    of more than a batch.

    Args:
        scorer: The model.
        data_loader: Of the set, shared out among processes or not.
        texts: M texts.
        wanted: Indices of the texts that each image is read with.
        pairs_per_pass: Pairs read at once.

    Raises:
        ValueError: If a logit is NaN or infinite.
    """
    numbers, size = share(range(len(wanted))), data_loader.batch_size
    counts = [sum(len(wanted[n]) for n in numbers[first : first + size]) for first in range(0, len(numbers), size)]
    num_passes = sum(-(-count // pairs_per_pass) for count in counts)
    logger.info("%s pairs of an image and a text are read", f"{sum(len(own) for own in wanted):,}")
    found: dict[int, np.ndarray] = {number: np.empty(len(wanted[number]), np.float32) for number in numbers}
    passes = _passes(scorer, data_loader, texts, wanted, pairs_per_pass)
    for images, block, places, names in progress(passes, "reading pairs", "pass", total=num_passes):
        logits = scorer.match_pairs(images, names).cpu().numpy()
        for number, place, logit in zip(block, places, logits, strict=True):
            found[number][place] = logit
    all_found = merge_ranks(found)
    matrix = np.full((len(wanted), len(texts)), np.nan, np.float32)
    for number, own in enumerate(wanted):
        matrix[number, own] = _finite(all_found[number], f"matches of image {number}")
    return matrix


def _passes(
    scorer: ImageTextScorer, data_loader, texts: Sequence[str], wanted: Sequence[np.ndarray], pairs_per_pass: int
) -> Iterator[tuple[ReadImages, np.ndarray, np.ndarray, list[str]]]:
    """Images and texts of a pass, and which image's which wanted text each pair is."""
    lengths = np.array([len(text) for text in texts])
    for numbers, samples in _share_of_images(scorer, data_loader, ""):
        images = scorer.read_images(samples)
        rows = np.concatenate([np.full(len(wanted[number]), row) for row, number in enumerate(numbers)])
        places = np.concatenate([np.arange(len(wanted[number])) for number in numbers])
        names = np.concatenate([wanted[number] for number in numbers])
        # Texts of about one length share a pass, so that little is padding.
        order = np.argsort(lengths[names], kind="stable")
        for first in range(0, len(order), pairs_per_pass):
            pairs = order[first : first + pairs_per_pass]
            at = torch.from_numpy(rows[pairs]).to(scorer.device)
            yield images[at], np.array(numbers)[rows[pairs]], places[pairs], [texts[name] for name in names[pairs]]


def _share_of_images(
    scorer: ImageTextScorer, data_loader, what: str
) -> Iterator[tuple[Sequence[int], Mapping[str, Tensor]]]:
    """This process's batches of images, and their places in the set."""
    size = data_loader.batch_size
    loader = own_share(data_loader, scorer.device.type == "cuda", size)
    numbers = share(range(len(data_loader.dataset)))
    batches = progress(loader, what, "batch") if what else loader
    for place, samples in enumerate(batches):
        yield numbers[place * size : (place + 1) * size], samples


def _finite(scores: np.ndarray, what: str) -> np.ndarray:
    if not np.isfinite(scores).all():
        raise ValueError(
            f"{int((~np.isfinite(scores)).sum())} of {scores.size} numbers of {what} are NaN or infinite: the model's "
            "weights are broken, or half precision overflows (run.bf16_eval: False)."
        )
    return scores
