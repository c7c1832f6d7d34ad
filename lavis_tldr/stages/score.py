"""Score: how well each original caption fits its image."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from lavis_tldr.models.image_encoding import ImageEncoding, join_encodings
from lavis_tldr.reduction.mixture import FittedMixture, fit_mixture
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import PLACE, STAGES
from lavis_tldr.scoring.contrastive import ContrastiveScorer, Pairs, fit_contrastive
from lavis_tldr.scoring.likelihood import CaptionScorer
from lavis_tldr.scoring.normsim import NormSim, standardize_images
from lavis_tldr.sources import Part
from lavis_tldr.stages import blip, caption, encode, given_scores
from lavis_tldr.stages.context import Context, Given, finish_on_first, make_once, run_parts
from lavis_tldr.stages.sampling import draw_sample, load_drawn
from lavis_tldr.stages.trusted import (
    Trusted,
    pairs_to_fit,
    target_digest,
    target_of_source,
    target_of_trusted,
    target_source,
    trusted_digest,
)

logger = logging.getLogger(__name__)

SCORER, TARGET, MIXTURE = "scorer.safetensors", "target.safetensors", "mixture.json"

# Rows of encode's table (usable samples of one part), the part's name, a caption for each row, and, for pairs known to
# be right, the fold of each that what scores it must not have learnt from (else None) -> scores by name.
Scorer = Callable[[pa.Table, str, list[str], np.ndarray | None], dict[str, np.ndarray]]


def given(context: Context) -> Given:
    config, inputs = context.config, {"model": context.model_digest, **encoders(context)}
    if config.uses_trusted and context.trusted is not None:
        inputs["trusted pairs"] = trusted_digest(context.trusted)
    if "normsim" in config.scorers and config.target:
        inputs["target"] = target_digest(context)
    if "given" in config.scorers:
        inputs["embeddings"] = context.embeddings.digest
    return Given(inputs=inputs)


def check_inputs(context: Context) -> None:
    """Refuse what can't be scored by, before hours of encoding.

    Raises:
        ValueError: If the run lacks pairs known to be right, or its target or embeddings can't be opened.
    """
    config = context.config
    if context.trusted is None and config.needs_trusted:
        what = "a fitted mixture learns from" if config.fits_mixture else "normsim compares with"
        instead = "the weights in run.mixture" if config.fits_mixture else "another target in run.target"
        raise ValueError(
            f"run.alignment {config.alignment}: {what} pairs known to be right, and there are none: give them in "
            f"datasets.tldr_captions.train, or {instead}."
        )
    if "normsim" in config.scorers and config.target:
        target_source(context)
    if "given" in config.scorers:
        _ = context.embeddings


def encoders(context: Context) -> dict[str, str]:
    """Digests of the models that score besides the captioner."""
    found = {"blip": context.blip.digest} if context.config.scores_by_blip else {}
    embeds = "score" in context.config.embed_captions
    return {**found, **({"sentence encoder": context.sentence_encoder.digest} if embeds else {})}


def run(context: Context, stage: Stage) -> None:
    """Write ``score/<alignment>/<part>.parquet``: key and the scores that make up the alignment."""
    mine = context.my_parts(stage)
    trusted = Trusted(context)
    if "contrastive" in context.config.scorers:
        make_once(stage, SCORER, lambda: _fit_scorer(context, trusted).save)
    if "normsim" in context.config.scorers:
        make_once(stage, TARGET, lambda: _fit_target(context, trusted).save)
    if "given" in context.config.scorers:
        given_scores.prepare(context, stage)
    if context.config.fits_mixture:
        make_once(stage, MIXTURE, lambda: _writer(_fit_mixture(context, stage)))
    counts, seconds = run_parts(context, stage, mine, _scored(context, stage, mine))
    finish_on_first(stage, counts, seconds)


def _scored(context: Context, stage: Stage, parts: list[Part]) -> Iterator[pa.Table]:
    scorer = scorer_of(context, stage)
    columns = [] if context.config.scores_by_blip_alone else ["image_key", "codes", "feature"]
    columns += PLACE if context.config.scores_by_blip else ()
    for part in parts:
        table = encode.load_usable(context, part.name, ["key", "caption_original", *columns])
        scores = scorer(table, part.name, table["caption_original"].to_pylist(), None)
        yield pa.table({"key": table["key"], **scores}, schema=STAGES["score"].schema_for(context.config))


def scorer_of(context: Context, stage: Stage) -> Scorer:
    """What gives the scores of the config's alignment, for any caption of an image; fitted already where it is fitted.

    Args:
        context: The run.
        stage: The score stage.
    """
    scorers = context.config.scorers
    found = [_by_blip(context, kind) for kind in ("itm", "itc") if kind in scorers]
    found += [_by_captioner(context)] if context.config.scores_by_captioner else []
    others = {"contrastive": _by_contrast, "normsim": _by_target, "given": given_scores.scorer_of}
    found += [make(context, stage) for kind, make in others.items() if kind in scorers]

    def score(table: pa.Table, part_name: str, captions: list[str], folds: np.ndarray | None) -> dict[str, np.ndarray]:
        parts = [part(table, part_name, captions, folds) for part in found]
        return {name: values for part in parts for name, values in part.items()}

    return score


def load_mixture(stage: Stage) -> FittedMixture:
    """The weights that were fitted.

    Raises:
        ValueError: If the file holds none.
    """
    path = stage.folder / MIXTURE
    try:
        return FittedMixture.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no fitted weights ({error}). Use `--restart score`.") from error


def _by_blip(context: Context, kind: str) -> Scorer:
    def score(table: pa.Table, part_name: str, captions: list[str], folds: np.ndarray | None) -> dict[str, np.ndarray]:
        return {kind: blip.score_captions(context, kind, table, captions)}

    return score


def _by_contrast(context: Context, stage: Stage) -> Scorer:
    scorer = ContrastiveScorer.load(stage.folder / SCORER, context.config.alignment_seed)

    def score(table: pa.Table, part_name: str, captions: list[str], folds: np.ndarray | None) -> dict[str, np.ndarray]:
        return {"contrast": scorer(_pairs(context, table, captions), folds)}

    return score


def _by_target(context: Context, stage: Stage) -> Scorer:
    scorer = NormSim.load(stage.folder / TARGET, context.config.normsim_p, context.device)

    def score(table: pa.Table, part_name: str, captions: list[str], folds: np.ndarray | None) -> dict[str, np.ndarray]:
        images = torch.from_numpy(encode.features_of(table, context.model.pooled_width))
        texts = context.sentence_encoder(captions) if context.config.targets_captions else None
        return {"normsim": scorer(images, texts, folds)}

    return score


def _by_captioner(context: Context) -> Scorer:
    context.model.to(context.device).eval()
    config = context.config
    sentences = context.sentence_encoder if config.scores_use_captions else None
    kinds = {"likelihood", "similarity", "both"}.intersection(config.scorers)
    kind = "both" if len(kinds) > 1 else kinds.pop()
    scorer = CaptionScorer(context.model, kind, _contrast_images(context), sentences, config.batch_size_eval)

    def score(table: pa.Table, part_name: str, captions: list[str], folds: np.ndarray | None) -> dict[str, np.ndarray]:
        images = encode.images_of(table, context.model)
        uses_captions = config.scores_use_captions
        generated = caption.load_captions(context, part_name, table["key"]) if uses_captions else []
        with context.autocast():
            return scorer(images.to(context.device), captions, generated)

    return score


def _contrast_images(context: Context) -> ImageEncoding:
    """Drawn images that a caption's likelihood is compared over, R of them."""
    sample = draw_sample(context, context.config.num_contrast, context.config.alignment_seed)
    return join_encodings([encode.load_images_of(context, name)[rows] for name, rows, _ in sample.by_part()])


def _fit_scorer(context: Context, trusted: Trusted) -> ContrastiveScorer:
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
    known = None if context.trusted is None else trusted.pairs
    # Weights are fitted on scores of the trusted pairs, and heads that had learnt them would score them too well.
    folds = trusted.folds_of(known.keys) if context.config.fits_mixture else None
    return fit_contrastive(pairs, known, context.config.alignment_seed, folds)


def _fit_target(context: Context, trusted: Trusted) -> NormSim:
    """The target, standardized as the source's drawn samples are."""
    sample = draw_sample(context, context.config.fit_size, context.config.alignment_seed)
    images = torch.empty(len(sample), context.model.pooled_width)
    for table, places in load_drawn(context, sample, ["feature"]):
        images[places] = torch.from_numpy(encode.features_of(table, context.model.pooled_width))
    mean, spread = images.mean(0), images.std(0).clamp(min=1e-6)
    del images
    target = target_of_source(context) if context.config.target else target_of_trusted(trusted)
    return NormSim(
        mean,
        spread,
        standardize_images(target.images, mean, spread).half(),
        torch.nn.functional.normalize(target.texts, dim=-1).half(),
        torch.from_numpy(target.image_folds),
        torch.from_numpy(target.text_folds),
    )


def _fit_mixture(context: Context, stage: Stage) -> FittedMixture:
    """Weights that tell the trusted pairs from the same with their captions swapped."""
    pairs, scorer = pairs_to_fit(context), scorer_of(context, stage)
    right, wrong = (scorer(pairs.table, "", captions, pairs.folds) for captions in (pairs.right, pairs.wrong))
    columns = context.config.score_weights
    found = fit_mixture(*({name: scores[name] for name in columns} for scores in (right, wrong)))
    told = ", ".join(f"{name} {weight:.3g}" for name, weight in found.weights.items())
    logger.info("mixture fitted on %d right and %d swapped pairs: %s", found.num_right, found.num_wrong, told)
    return found


def _writer(mixture: FittedMixture) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(json.dumps(mixture.as_dict(), indent=2) + "\n", encoding="utf-8")

    return write


def _pairs(context: Context, table: pa.Table, captions: list[str]) -> Pairs:
    """Features of usable samples, each with a caption."""
    images = torch.from_numpy(encode.features_of(table, context.model.pooled_width))
    return Pairs(table["image_key"].to_pylist(), images, context.sentence_encoder(captions))
