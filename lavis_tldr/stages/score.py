"""Score: how well each original caption fits its image."""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import torch

from lavis_tldr.datasets.caption_pairs import CaptionPairs
from lavis_tldr.datasets.image_features import pooled_features
from lavis_tldr.datasets.unreadable import LIST
from lavis_tldr.models.image_encoding import ImageEncoding, join_encodings
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import PLACE, STAGES
from lavis_tldr.scoring.contrastive import ContrastiveScorer, Pairs, fit_contrastive
from lavis_tldr.scoring.likelihood import CaptionScorer
from lavis_tldr.sources import Part
from lavis_tldr.stages import blip, caption, encode
from lavis_tldr.stages.context import Context, Given, finish_on_first, make_once, run_parts
from lavis_tldr.stages.sampling import draw_sample, load_drawn

SCORER = "scorer.safetensors"

# Rows of encode's table (usable samples of one part), the part's name and a caption for each row -> scores by name.
Scorer = Callable[[pa.Table, str, list[str]], dict[str, np.ndarray]]


def given(context: Context) -> Given:
    inputs = {"model": context.model_digest, **encoders(context)}
    if context.config.alignment == "contrastive" and context.trusted is not None:
        inputs["trusted pairs"] = _digest_of(context.trusted)
    return Given(inputs=inputs)


def encoders(context: Context) -> dict[str, str]:
    """Digests of the models that score besides the captioner."""
    if context.config.scores_by_blip:
        return {"blip": context.blip.digest}
    return {"sentence encoder": context.sentence_encoder.digest} if "score" in context.config.embed_captions else {}


def run(context: Context, stage: Stage) -> None:
    """Write ``score/<alignment>/<part>.parquet``: key and the scores that make up the alignment."""
    mine = context.my_parts(stage)
    if context.config.alignment == "contrastive":
        make_once(stage, SCORER, lambda: _fit_scorer(context).save)
    counts, seconds = run_parts(context, stage, mine, _scored(context, stage, mine))
    finish_on_first(stage, counts, seconds)


def _scored(context: Context, stage: Stage, parts: list[Part]) -> Iterator[pa.Table]:
    scorer = scorer_of(context, stage)
    columns = list(PLACE) if context.config.scores_by_blip else ["image_key", "codes", "feature"]
    for part in parts:
        table = encode.load_usable(context, part.name, ["key", "caption_original", *columns])
        scores = scorer(table, part.name, table["caption_original"].to_pylist())
        yield pa.table({"key": table["key"], **scores}, schema=STAGES["score"].schema_for(context.config))


def scorer_of(context: Context, stage: Stage) -> Scorer:
    """What gives the scores of the config's alignment, for any caption of an image; fitted already where it is fitted.

    Args:
        context: The run.
        stage: The score stage.
    """
    if context.config.scores_by_blip:
        return _by_blip(context)
    return _by_contrast(context, stage) if context.config.alignment == "contrastive" else _by_captioner(context)


def _by_blip(context: Context) -> Scorer:
    def score(table: pa.Table, part_name: str, captions: list[str]) -> dict[str, np.ndarray]:
        return {context.config.alignment: blip.score_captions(context, table, captions)}

    return score


def _by_contrast(context: Context, stage: Stage) -> Scorer:
    scorer = ContrastiveScorer.load(stage.folder / SCORER, context.config.alignment_seed)

    def score(table: pa.Table, part_name: str, captions: list[str]) -> dict[str, np.ndarray]:
        return {"contrast": scorer(_pairs(context, table, captions))}

    return score


def _by_captioner(context: Context) -> Scorer:
    context.model.to(context.device).eval()
    sentences = context.sentence_encoder if context.config.scores_use_captions else None
    config = context.config
    scorer = CaptionScorer(
        context.model, config.alignment, _contrast_images(context), sentences, config.batch_size_eval
    )

    def score(table: pa.Table, part_name: str, captions: list[str]) -> dict[str, np.ndarray]:
        images = encode.images_of(table, context.model)
        uses_captions = context.config.scores_use_captions
        generated = caption.load_captions(context, part_name, table["key"]) if uses_captions else []
        with context.autocast():
            return scorer(images.to(context.device), captions, generated)

    return score


def _contrast_images(context: Context) -> ImageEncoding:
    """Drawn images that a caption's likelihood is compared over, R of them."""
    sample = draw_sample(context, context.config.num_contrast, context.config.alignment_seed)
    return join_encodings([encode.load_images_of(context, name)[rows] for name, rows, _ in sample.by_part()])


def _fit_scorer(context: Context) -> ContrastiveScorer:
    """The scorer, fitted on drawn samples and the trusted pairs."""
    sample = draw_sample(context, context.config.fit_size, context.config.alignment_seed)
    pairs = Pairs([""] * len(sample), torch.empty(0), torch.empty(0))
    for table, places in load_drawn(context, sample, ["image_key", "caption_original", "feature"]):
        found = _pairs(context, table, table["caption_original"].to_pylist())
        if not pairs.images.numel():
            pairs.images = torch.empty(len(sample), found.images.shape[1])
            pairs.texts = torch.empty(len(sample), found.texts.shape[1])
        pairs.images[places], pairs.texts[places] = found.images, found.texts
        for place, key in zip(places, found.keys, strict=True):
            pairs.keys[place] = key
    trusted = None if context.trusted is None else _trusted_pairs(context, context.trusted)
    return fit_contrastive(pairs, trusted, context.config.alignment_seed)


def _pairs(context: Context, table: pa.Table, captions: list[str]) -> Pairs:
    """Features of usable samples, each with a caption."""
    images = torch.from_numpy(encode.features_of(table, context.model.pooled_width))
    return Pairs(table["image_key"].to_pylist(), images, context.sentence_encoder(captions))


def _trusted_pairs(context: Context, trusted: CaptionPairs) -> Pairs:
    """Features of the pairs known to be right; an image that can't be read is left out.

    Raises:
        ValueError: If none can be read.
    """
    features = pooled_features(
        context.model.to(context.device).eval(),  # encode has not done so where it was done before
        {key: place for key, place, _ in trusted.items},
        context.parts.vis_processor,
        context.cached_features,
        bf16=context.config.bf16,
        batch_size=context.config.batch_size_eval,
        num_workers=context.config.num_workers,
        unreadable_list=context.root / LIST,
    )
    if not features:
        raise ValueError(
            "none of the images of datasets.tldr_captions.train, whose captions are known to be right, can be read "
            "(see the warnings above): check its source's image_root or tars, or leave it out."
        )
    rows = [(key, caption) for key, _, captions in trusted.items if key in features for caption in captions]
    images = torch.stack([features[key] for key, _ in rows])
    return Pairs([key for key, _ in rows], images, context.sentence_encoder([caption for _, caption in rows]))


def _digest_of(pairs: CaptionPairs) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for key, _, captions in pairs.items:
        digest.update(repr((key, captions)).encode())
    return digest.hexdigest()
