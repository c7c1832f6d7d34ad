"""Small trainings on what each ratio keeps, for the same number of steps, scored on pairs that none was trained on.

Shapes: n drawn pairs, H held-out pairs, S seeds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lavis_tldr.advice.pool import Pool, Validation
from lavis_tldr.evaluation.proxy_evaluator import ProxyEvaluator
from lavis_tldr.evaluation.retrieval_proxy import ProxyOptions
from lavis_tldr.models.sentence_encoder import TextFeatures
from lavis_tldr.progress import progress
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.representation import normalise_rows
from lavis_tldr.reduction.selection import SelectionRule

logger = logging.getLogger(__name__)

FEWEST_HELD_OUT = 50
_LARGEST_HELD_OUT_SHARE = 0.1
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class TrainingOptions:
    """How the trainings are made.

    Attributes:
        num_seeds: S.
        epochs: How often the whole set's training goes over it; every other set gets as many steps.
        num_held_out: H at most; no more than a tenth of the drawn pairs.
        trusted_share: Share of the scored pairs, those whose captions fit best, that pairs are held out from. Below 1,
            what the score likes is scored on, and small ratios, which keep just that, look better than they are. 1:
            from all pairs; the wrong ones among them lower every recall alike.
        twin_threshold: Cosine of pooled features, centred, from which two images are nearly the same.
        batch_size, learning_rate: Of the trainings.
        seed: Of the first; each further one has the next.
    """

    num_seeds: int = 5
    epochs: float = 10.0
    num_held_out: int = 1000
    trusted_share: float = 1.0
    twin_threshold: float = 0.95
    batch_size: int = 128
    learning_rate: float = 3e-4
    seed: int = 0


@dataclass(frozen=True)
class Trainings:
    """What came of the trainings; 100 is the best mean recall.

    Attributes:
        recalls: Mean recall of each ratio by seed, (S,).
        whole: That of the whole set, (S,).
        num_whole: How many the whole set has, on the mean.
        num_held_out: H, or how many captions the validation set has.
        num_kept: How many each ratio's set has, on the mean.
        overlap: As `recommendation.recommend` takes it.
        num_steps: Of every training.
        too_small: Ratios left out, which keep fewer pairs than a batch takes.
    """

    recalls: dict[float, list[float]]
    whole: list[float]
    num_whole: float
    num_held_out: int
    num_kept: dict[float, float]
    overlap: float
    num_steps: int
    too_small: list[float]


def run_trainings(
    pool: Pool,
    rule: SelectionRule,
    ratios: Sequence[float],
    texts: TextFeatures,
    options: TrainingOptions,
    validation: Validation | None = None,
) -> Trainings:
    """Train and score on the whole set and on what each ratio keeps, with every seed (`run_ladder`)."""
    num_steps = max(1, round(options.epochs * len(pool) / options.batch_size))
    return run_ladder(pool, rule, ratios, texts, options, lambda num_whole: [num_steps], validation)[0]


def run_ladder(
    pool: Pool,
    rule: SelectionRule,
    ratios: Sequence[float],
    texts: TextFeatures,
    options: TrainingOptions,
    steps: Callable[[float], Sequence[int]],
    validation: Validation | None = None,
) -> list[Trainings]:
    """Train and score on the whole set and on what each ratio keeps, with every seed, for several numbers of steps.

    Each number has trainings of its own, since the learning rate falls over all steps of a training.

    Without a validation set every seed holds out other pairs of the pool, and the rule is applied to the rest, so
    that all sets lose alike.

    Args:
        pool: Drawn pairs.
        rule: By which each ratio keeps.
        ratios: To try.
        texts: Embeds captions.
        options: How; ``epochs`` has no say here.
        steps: Gives the numbers of steps, by how many pairs the whole set has to train on, on the mean.
        validation: Pairs known to fit, from elsewhere.

    Returns:
        What came of each number of steps.

    Raises:
        ValueError: If there are too few pairs to hold any out, or for any ratio to fill a batch.
    """
    splits = [_split(pool, options, seed, validation) for seed in range(options.seed, options.seed + options.num_seeds)]
    standings = [pool.candidates.take(split.rest).stand(rule) for split in splits]
    sets = {
        ratio: [np.repeat(split.rest, found.repeats(ratio)) for split, found in zip(splits, standings, strict=True)]
        for ratio in ratios
    }
    too_small = [ratio for ratio in ratios if min(map(len, sets[ratio])) < options.batch_size]
    sets = {ratio: rows for ratio, rows in sets.items() if ratio not in too_small}
    if not sets:
        raise ValueError(
            f"of {len(pool)} drawn pairs no ratio keeps as many as a batch of {options.batch_size} takes: give larger "
            "--ratios, or a smaller --batch-size."
        )
    num_whole = float(np.mean([len(split.rest) for split in splits]))
    arms: list[float | None] = [None, *sets]
    recalls: dict[int, dict] = {num_steps: {arm: [] for arm in arms} for num_steps in steps(num_whole)}
    images = _standardized(pool.features)
    tries = (
        (number, split, evaluate, num_steps, arm)
        for number, split in enumerate(splits)
        for evaluate in [_evaluator(pool, images, texts, split, validation)]
        for num_steps in recalls
        for arm in arms
    )
    total = len(splits) * len(recalls) * len(arms)
    for number, split, evaluate, num_steps, arm in progress(tries, "trainings", "training", total=total):
        rows = split.rest if arm is None else sets[arm][number]
        pairs = [(pool.image_keys[row], (pool.captions[row],)) for row in rows]
        proxy = ProxyOptions(num_steps=num_steps, batch_size=options.batch_size, learning_rate=options.learning_rate)
        found = recalls[num_steps][arm]
        found.append(evaluate(pairs, proxy, options.seed + number)["mean_recall"])
        logger.debug("seed %d, %d steps, ratio %s: %s", options.seed + number, num_steps, arm, found[-1])
    num_held_out = len(splits[0].held_out) if validation is None else len(validation.captions)
    return [
        Trainings(
            recalls={ratio: found[ratio] for ratio in sets},
            whole=found[None],
            num_whole=num_whole,
            num_held_out=num_held_out,
            num_kept={ratio: float(np.mean([len(rows) for rows in found])) for ratio, found in sets.items()},
            overlap=num_held_out / num_whole if validation is None else 0.0,
            num_steps=num_steps,
            too_small=too_small,
        )
        for num_steps, found in recalls.items()
    ]


@dataclass(frozen=True)
class _Split:
    """Rows of the pool that are held out, (H,), and rows that may be trained on; ascending."""

    held_out: np.ndarray
    rest: np.ndarray


def _split(pool: Pool, options: TrainingOptions, seed: int, validation: Validation | None) -> _Split:
    """Held out are pairs drawn by image; nobody trains on these images or near twins."""
    if validation is not None:
        held, scored_on = np.zeros(0, np.int64), validation.features
        apart = np.ones(len(pool), bool)
    else:
        held = hold_out(pool, options.num_held_out, seed, options.trusted_share)
        scored_on = pool.features[held]
        apart = ~np.isin(pool.image_keys, pool.image_keys[held])
    mean = pool.features.mean(0)
    directions = normalise_rows(scored_on - mean).T
    for start in range(0, len(pool), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        cosines = normalise_rows(pool.features[rows] - mean) @ directions
        apart[rows] &= cosines.max(1) < options.twin_threshold
    return _Split(held, np.flatnonzero(apart))


def hold_out(pool: Pool, at_most: int, seed: int, trusted_share: float = 1.0) -> np.ndarray:
    """Rows of pairs to score on, (H,), ascending: drawn by image, from those whose captions fit best or from all.

    Raises:
        ValueError: If there are too few.
    """
    number = min(at_most, int(_LARGEST_HELD_OUT_SHARE * len(pool)))
    trusted = np.arange(len(pool))
    if trusted_share < 1:
        scored = ~np.isnan(pool.alignment)
        if not scored.any():
            raise ValueError(f"--trusted is {trusted_share}, but the reduced set has scored no captions: leave it out.")
        trusted = np.flatnonzero(scored & (pool.alignment >= np.quantile(pool.alignment[scored], 1 - trusted_share)))
    if number < FEWEST_HELD_OUT or len(trusted) < number:
        raise ValueError(
            f"{len(pool)} drawn pairs ({len(trusted)} of them trusted) are too few to hold out at least "
            f"{FEWEST_HELD_OUT}, a tenth at most: validate on other pairs by --validate-on, or draw more by --sample."
        )
    priority = draw_priority(pool.image_keys[trusted], seed)
    return np.sort(trusted[np.lexsort((trusted, priority))[:number]])


def _evaluator(
    pool: Pool, images: np.ndarray, texts: TextFeatures, split: _Split, validation: Validation | None
) -> ProxyEvaluator:
    features = dict(zip(pool.image_keys, torch.from_numpy(images), strict=True))
    if validation is None:
        rows = [(pool.image_keys[row], pool.captions[row]) for row in split.held_out]
    else:
        keys = [f"validation/{i}" for i in range(len(validation.features))]
        features |= zip(keys, torch.from_numpy(_standardized(validation.features, pool.features)), strict=True)
        rows = [(keys[i], caption) for i, caption in zip(validation.image_of, validation.captions, strict=True)]
    captions: dict[str, list[str]] = {}
    for key, caption in rows:
        captions.setdefault(key, []).append(caption)
    return ProxyEvaluator(features, texts, [(key, None, found) for key, found in captions.items()])


def _standardized(features: np.ndarray, by: np.ndarray | None = None) -> np.ndarray:
    """Features (n, D) with mean 0 and deviation 1 in each dimension, over all of them or over ``by``."""
    by = features if by is None else by
    return (features - by.mean(0)) / np.maximum(by.std(0), 1e-6)
