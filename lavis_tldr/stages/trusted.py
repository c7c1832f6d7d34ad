"""Pairs beside the source that scores go by: those known to be right, and the target that others are to be like."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch

from lavis_tldr.datasets.caption_pairs import CaptionPairs
from lavis_tldr.datasets.image_features import encode_images, pooled_features
from lavis_tldr.datasets.unreadable import LIST
from lavis_tldr.reduction.draw import draw_priority, draw_rows
from lavis_tldr.runs.code_tables import list_column
from lavis_tldr.runs.stages import PLACE
from lavis_tldr.scoring.contrastive import Pairs, folds_of
from lavis_tldr.sources import ImageLocation, Source, build_source
from lavis_tldr.stages.context import Context

logger = logging.getLogger(__name__)

_MOST_TARGETS = 100_000
_MOST_TO_FIT = 4096  # images: more would not move a handful of weights
_TRUSTED = "the images of datasets.tldr_captions.train, whose captions are known to be right,"


def trusted_digest(pairs: CaptionPairs) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for key, _, captions in pairs.items:
        digest.update(repr((key, captions)).encode())
    return digest.hexdigest()


def target_source(context: Context) -> Source:
    """The source that ``run.target`` names.

    Raises:
        ValueError: If it is none.
    """
    try:
        return build_source(context.config.target)
    except ValueError as error:
        raise ValueError(f"run.target: {error}") from error


def target_digest(context: Context) -> str:
    source = target_source(context)
    return hashlib.blake2b("".join(map(source.digest, source.parts)).encode(), digest_size=16).hexdigest()


@dataclass
class Trusted:
    """The pairs known to be right, encoded once for all that is made of them; an image that can't be read is left out.

    A ValueError is raised if none can be read.
    """

    context: Context

    @cached_property
    def features(self) -> dict[str, torch.Tensor]:
        """Pooled feature of each image, (2 D,), by key."""
        return _features(self.context, {key: place for key, place, _ in self.context.trusted.items}, _TRUSTED)

    @cached_property
    def captions(self) -> list[tuple[str, str]]:
        """Each caption of these images, with the key of its image."""
        items = self.context.trusted.items
        return [(key, caption) for key, _, captions in items if key in self.features for caption in captions]

    @cached_property
    def pairs(self) -> Pairs:
        """Features of all pairs, one a caption."""
        keys, captions = zip(*self.captions, strict=True)
        images = torch.stack([self.features[key] for key in keys])
        return Pairs(list(keys), images, self.context.sentence_encoder(captions))

    def folds_of(self, keys: list[str]) -> np.ndarray:
        """The fold of each of some images, (N,): what scores its pairs has learnt from the other folds alone."""
        return folds_of(keys, self.context.config.alignment_seed)


@dataclass
class TargetPairs:
    """What other pairs are to be like.

    Attributes:
        images: (M, 2 D), pooled features.
        texts: (T, W), sentence embeddings of all captions; T is 0 where they do not count, or there are none.
        image_folds, text_folds: Fold of each, (M,) and (T,), int64; -1 where no pair of it is ever scored.
    """

    images: torch.Tensor
    texts: torch.Tensor
    image_folds: np.ndarray
    text_folds: np.ndarray


def target_of_trusted(trusted: Trusted) -> TargetPairs:
    """The pairs known to be right as the target; of more than 100,000 images so many are drawn."""
    context = trusted.context
    keys = _drawn(sorted(trusted.features), _MOST_TARGETS, context.config.alignment_seed)
    images, wanted = torch.stack([trusted.features[key] for key in keys]), set(keys)
    said = [pair for pair in trusted.captions if pair[0] in wanted] if context.config.targets_captions else []
    texts = context.sentence_encoder([caption for _, caption in said]) if said else torch.zeros(0, 1)
    return TargetPairs(images, texts, trusted.folds_of(keys), trusted.folds_of([key for key, _ in said]))


def target_of_source(context: Context) -> TargetPairs:
    """The pairs of ``run.target``; images without a caption count as images alone.

    Raises:
        ValueError: If no image can be read.
    """
    source = target_source(context)
    places, captions = {}, {}
    for part in source.parts:
        for record in source.read(part, images=False):
            # What is wrong with a record that has no caption may be just that.
            if record.location is not None and not (record.error and record.caption):
                places[record.image_key] = record.location
                captions.setdefault(record.image_key, []).extend([record.caption] if record.caption else [])
    keys = _drawn(sorted(places), _MOST_TARGETS, context.config.alignment_seed)
    features = _features(context, {key: places[key] for key in keys}, "the images of run.target")
    texts = [caption for key in features for caption in captions[key]] if context.config.targets_captions else []
    if context.config.targets_captions and not texts:
        logger.info("run.target has no captions: pairs are compared with it by their images alone")
    embedded = context.sentence_encoder(texts) if texts else torch.zeros(0, 1)
    images = torch.stack(list(features.values()))
    return TargetPairs(images, embedded, *(np.full(len(part), -1, np.int64) for part in (images, embedded)))


@dataclass
class PairsToFit:
    """Pairs known to be right, and the same with their captions swapped among images of a fold.

    Attributes:
        table: Of the images, with the columns of encode's that scores are made from.
        right: The caption of each image.
        wrong: The caption of another image of the same fold: what has learnt from the other folds has seen neither.
        folds: (N,), of the images.
    """

    table: pa.Table
    right: list[str]
    wrong: list[str]
    folds: np.ndarray


def pairs_to_fit(context: Context) -> PairsToFit:
    """One pair an image, of at most 4,096 drawn images; one whose fold has no other caption for it is left out."""
    firsts = {key: (place, captions[0]) for key, place, captions in reversed(context.trusted.items)}
    seed = context.config.alignment_seed
    keys = _drawn(sorted(firsts), _MOST_TO_FIT, seed)
    table = encoded_images(context, {key: firsts[key][0] for key in keys})
    keys = table["key"].to_pylist()
    folds, priority = folds_of(keys, seed), draw_priority(keys, seed + 1)
    wrong = [""] * len(keys)
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        rows = rows[np.argsort(priority[rows], kind="stable")]
        for row, other in zip(rows, np.roll(rows, -1), strict=True):
            own, caption = (firsts[keys[place]][1] for place in (row, other))
            wrong[row] = caption if caption != own else ""
    kept = np.flatnonzero([bool(caption) for caption in wrong])
    right = [firsts[keys[row]][1] for row in kept]
    return PairsToFit(table.take(pa.array(kept)), right, [wrong[row] for row in kept], folds[kept])


def encoded_images(context: Context, places: Mapping[str, ImageLocation]) -> pa.Table:
    """Images as encode's tables have them: key, image_key, codes, feature and place; in order of key, and those alone
    that can be read.

    Raises:
        ValueError: If none can be read.
    """
    model = context.model.to(context.device).eval()
    keys, codes, pooled = [], [], []
    for found, tokens in _tokens(context, places):
        keys += found
        with context.autocast():
            images = model.quantize_tokens(tokens.to(context.device)).to("cpu")
        codes.append(images.codes.numpy().astype(np.uint16))
        pooled.append(images.pooled.numpy().astype(np.float16))
    if not keys:
        raise _unreadable(_TRUSTED)
    readable = [True] * len(keys)
    columns = {"key": keys, "image_key": keys, "codes": list_column(np.concatenate(codes), readable)}
    columns["feature"] = list_column(np.concatenate(pooled), readable)
    for name, attribute in zip(PLACE, ("path", "offset", "size"), strict=True):
        columns[name] = [getattr(places[key], attribute) for key in keys]
    return pa.table(columns).sort_by("key")


def _tokens(context: Context, places: Mapping[str, ImageLocation]) -> Iterator[tuple[list[str], torch.Tensor]]:
    """Tokens of the images that can be read, (B, 1 + L, D), with their keys; first those that training has computed."""
    cached, size = context.cached_features or {}, context.config.batch_size_eval
    known = [key for key in places if key in cached]
    for start in range(0, len(known), size):
        keys = known[start : start + size]
        yield keys, torch.from_numpy(np.stack([cached[key] for key in keys])).float()
    missing = {key: place for key, place in places.items() if key not in cached}
    yield from encode_images(context.model, missing, context.parts.vis_processor, **_encoding(context))


def _features(context: Context, places: Mapping[str, ImageLocation], what: str) -> dict[str, torch.Tensor]:
    """Pooled features by key, of the images that can be read."""
    model = context.model.to(context.device).eval()  # encode has not done so where it was done before
    cached = context.cached_features
    found = pooled_features(model, places, context.parts.vis_processor, cached, **_encoding(context))
    if not found:
        raise _unreadable(what)
    return found


def _encoding(context: Context) -> dict:
    config = context.config
    sizes = {"batch_size": config.batch_size_eval, "num_workers": config.num_workers}
    return {"bf16": config.bf16, **sizes, "unreadable_list": context.root / LIST}


def _unreadable(what: str) -> ValueError:
    return ValueError(
        f"none of {what} can be read (see the warnings above): check its source's image_root or tars, or leave it out."
    )


def _drawn(keys: list[str], most: int, seed: int) -> list[str]:
    """At most so many of some keys, in order."""
    return keys if len(keys) <= most else draw_rows([keys], most, seed=seed)[2]
