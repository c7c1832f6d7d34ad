"""Score: how well each original caption fits its image, and, where the captioner judges, a generated caption."""

import hashlib
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from lavis_tldr.datasets.caption_pairs import CaptionPairs
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.reduction.selection import sample_rows
from lavis_tldr.sources import Part
from lavis_tldr.tasks.alignment import CaptionScorer
from lavis_tldr.tasks.contrastive import ContrastiveScorer, Pairs
from lavis_tldr.tasks.image_features import mean_features
from lavis_tldr.tasks.stages import cluster, encode
from lavis_tldr.tasks.stages.context import Context, finish_on_first, run_parts

SCORES = ("contrast", "likelihood_gain", "similarity")
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("caption_generated", pa.string()),  # "" where the captioner was not asked
        *((name, pa.float32()) for name in SCORES),  # NaN where not asked for
    ]
)


def stage_of(context: Context) -> Stage:
    config = context.config
    inputs = {"encode": encode.stage_of(context).digest, "model": context.model_digest}
    settings: dict = {"alignment": config.alignment, "bf16": config.bf16, "seed": config.seed}
    if context.sentence_encoder is not None:
        inputs["sentence encoder"] = context.sentence_encoder.digest
    if config.alignment == "contrastive":
        settings |= {"fit_size": config.fit_size}
        if context.trusted is not None:
            inputs["trusted pairs"] = _digest_of(context.trusted)
    else:
        settings |= {"num_contrast": config.num_contrast, "decoding": vars(config.decoding)}
    return context.stage("score", settings, inputs)


def run(context: Context, stage: Stage) -> None:
    """Write ``score/<part>.parquet``: key, caption_generated and the scores of `SCORES`."""
    mine = context.my_parts(stage)
    source = encode.stage_of(context)
    table_of = None
    if mine:
        context.model.to(context.device).eval()
        if context.config.alignment == "contrastive":
            table_of = partial(_contrast_part, context, source, _fit_contrastive(context, source))
        else:
            codes = cluster.load_codes(context)[1]
            scorer = CaptionScorer(context.model, context.config, codes, context.sentence_encoder)
            table_of = partial(_caption_part, context, source, scorer)
    counts, seconds = run_parts(context, stage, mine, table_of)
    finish_on_first(stage, counts, seconds)


def _caption_part(context: Context, source: Stage, scorer: CaptionScorer, part: Part) -> pa.Table:
    table = _usable(context, source, part.name, ["key", "caption_original", "codes"])
    codes = torch.from_numpy(encode.codes_of(table, context.model.num_patches).astype(np.int64)).to(context.device)
    with context.autocast():
        scores = scorer(codes, table["caption_original"].to_pylist())
    unscored = np.full(table.num_rows, np.nan, np.float32)
    return pa.table({"key": table["key"], "contrast": unscored, **scores}, schema=SCHEMA)


def _contrast_part(context: Context, source: Stage, scorer: ContrastiveScorer, part: Part) -> pa.Table:
    pairs = _pairs(context, source, part.name)
    unscored = np.full(len(pairs.keys), np.nan, np.float32)
    columns = {"key": pairs.keys, "caption_generated": [""] * len(pairs.keys), "contrast": scorer(pairs)}
    return pa.table({**columns, "likelihood_gain": unscored, "similarity": unscored}, schema=SCHEMA)


def _fit_contrastive(context: Context, source: Stage) -> ContrastiveScorer:
    """The scorer, fitted on drawn samples and the trusted pairs; every process fits the same."""
    keys = sorted(
        key for name in context.part_names for key in _usable(context, source, name, ["key"])["key"].to_pylist()
    )
    drawn = pa.array(
        [keys[i] for i in sample_rows(keys, context.config.fit_size, seed=context.config.seed)], pa.string()
    )
    found = [_pairs(context, source, name, drawn) for name in context.part_names]
    keys = [key for pairs in found for key in pairs.keys]
    order = torch.from_numpy(np.argsort(np.array(keys, dtype=str), kind="stable"))  # file order decides nothing
    sample = Pairs(
        [keys[i] for i in order.tolist()],
        torch.cat([pairs.images for pairs in found])[order],
        torch.cat([pairs.texts for pairs in found])[order],
    )
    trusted = None if context.trusted is None else _trusted_pairs(context, context.trusted)
    return ContrastiveScorer(sample, trusted, context.config.seed)


def _pairs(context: Context, source: Stage, part_name: str, only: pa.Array | None = None) -> Pairs:
    """Features of a part's usable samples, or of those among the keys ``only``."""
    table = _usable(context, source, part_name, ["key", "caption_original", "feature"])
    if only is not None:
        table = table.filter(pc.is_in(table["key"], only))
    images = torch.from_numpy(encode.features_of(table, context.model.encoder_width))
    return Pairs(table["key"].to_pylist(), images, context.sentence_encoder(table["caption_original"].to_pylist()))


def _trusted_pairs(context: Context, trusted: CaptionPairs) -> Pairs:
    """Features of the pairs known to be right; an image that can't be read is left out."""
    features = mean_features(
        context.model,
        {key: place for key, place, _ in trusted.items},
        context.parts.vis_processor,
        context.cached_features,
        bf16=context.config.bf16,
        batch_size=context.config.batch_size_eval,
    )
    rows = [(key, caption) for key, _, captions in trusted.items if key in features for caption in captions]
    images = torch.stack([features[key] for key, _ in rows])
    return Pairs([key for key, _ in rows], images, context.sentence_encoder([caption for _, caption in rows]))


def _usable(context: Context, source: Stage, part_name: str, columns: list[str]) -> pa.Table:
    table = context.load_part(source, part_name, [*columns, "error"])
    return table.filter(pc.equal(table["error"], ""))


def _digest_of(pairs: CaptionPairs) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for key, _, captions in pairs.items:
        digest.update(repr((key, captions)).encode())
    return digest.hexdigest()
