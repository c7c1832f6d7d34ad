"""Score: how well each original caption fits its image, and, where the captioner judges, a generated caption."""

import hashlib
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from lavis.common.dist_utils import is_main_process

from lavis_tldr.datasets.caption_pairs import CaptionPairs
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.sources import Part
from lavis_tldr.tasks.alignment import CaptionScorer
from lavis_tldr.tasks.captioner_start import barrier
from lavis_tldr.tasks.contrastive import ContrastiveScorer, Pairs, fit_contrastive
from lavis_tldr.tasks.image_features import mean_features
from lavis_tldr.tasks.stages import encode
from lavis_tldr.tasks.stages.context import Context, finish_on_first, run_parts
from lavis_tldr.tasks.stages.sampling import draw_sample

SCORER = "scorer.safetensors"
SCORES = ("contrast", "likelihood_gain", "similarity")
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("caption_generated", pa.string()),  # "" where the captioner was not asked
        *((name, pa.float32()) for name in SCORES),  # NaN where not asked for
    ]
)


def stage_of(context: Context) -> Stage:
    return context.stage("score", lambda: _definition(context))


def _definition(context: Context) -> tuple[dict, dict[str, str]]:
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
    return settings, inputs


def run(context: Context, stage: Stage) -> None:
    """Write ``score/<part>.parquet``: key, caption_generated and the scores of `SCORES`."""
    context.model.to(context.device).eval()
    source = encode.stage_of(context)
    mine = context.my_parts(stage)
    if context.config.alignment == "contrastive":
        table_of = partial(_contrast_part, context, source, _fitted_scorer(context, stage))
    else:
        scorer = CaptionScorer(context.model, context.config, _contrast_codes(context), context.sentence_encoder)
        table_of = partial(_caption_part, context, source, scorer)
    counts, seconds = run_parts(context, stage, mine, map(table_of, mine))
    finish_on_first(stage, counts, seconds)


def _fitted_scorer(context: Context, stage: Stage) -> ContrastiveScorer:
    """The scorer; fitted once, by the first process, so that all parts of all runs are scored by the same."""
    path = stage.folder / SCORER
    if is_main_process() and not path.is_file():
        scorer = _fit_scorer(context)
        with stage.write(SCORER) as temporary:
            scorer.save(temporary)
    barrier()
    return ContrastiveScorer.load(path, context.config.seed)


def _contrast_codes(context: Context) -> np.ndarray:
    """Codes of drawn images that a caption's likelihood is compared over, (R, L)."""
    sample = draw_sample(context, context.config.num_contrast, context.config.seed)
    return np.concatenate([encode.load_codes(context, name)[rows] for name, rows, _ in sample.by_part()])


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


def _fit_scorer(context: Context) -> ContrastiveScorer:
    """The scorer, fitted on drawn samples and the trusted pairs."""
    sample = draw_sample(context, context.config.fit_size, context.config.seed)
    source = encode.stage_of(context)
    pairs = Pairs(sample.keys, torch.empty(0), torch.empty(0))
    for name, rows, places in sample.by_part():
        found = _pairs(context, source, name, rows)
        if not pairs.images.numel():
            pairs.images = torch.empty(len(sample), found.images.shape[1])
            pairs.texts = torch.empty(len(sample), found.texts.shape[1])
        pairs.images[places], pairs.texts[places] = found.images, found.texts
    trusted = None if context.trusted is None else _trusted_pairs(context, context.trusted)
    return fit_contrastive(pairs, trusted, context.config.seed)


def _pairs(context: Context, source: Stage, part_name: str, rows: np.ndarray | None = None) -> Pairs:
    """Features of a part's usable samples, or of some rows of them."""
    table = _usable(context, source, part_name, ["key", "caption_original", "feature"])
    if rows is not None:
        table = table.take(rows)
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
