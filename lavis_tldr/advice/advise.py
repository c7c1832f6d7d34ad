"""``lavis-tldr advise RUN``: how much of a set to keep for a quality target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from lavis_tldr.advice.finished import FinishedSet
from lavis_tldr.advice.notes import notes
from lavis_tldr.advice.pool import draw_pool, encoded_pairs
from lavis_tldr.advice.recommendation import WHOLE, Recommendation, recommend, standard_error
from lavis_tldr.advice.selections import check_kept, rule_of, stand_all
from lavis_tldr.advice.statistics import statistics
from lavis_tldr.advice.trials import TrialOptions, Trials, run_trials
from lavis_tldr.evaluation.proxy_trial import TextFeatures
from lavis_tldr.models.sentence_encoder import SentenceEncoder
from lavis_tldr.reduction.quotas import keep_budget
from lavis_tldr.reduction.selection import Standings

RATIOS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75)


def advise(
    run: Path,
    *,
    name: str | None = None,
    target: float = 1.0,
    against: str = WHOLE,
    ratios: Sequence[float] = RATIOS,
    options: TrialOptions | None = None,
    sample: int = 50_000,
    validate_on: Path | None = None,
    text_weights: str = "",
    device: str = "cpu",
) -> dict:
    """Say which keep ratio of a finished recipe to take.

    Args:
        run: The run folder, or the recipe's in it.
        name: The recipe, where the run has several.
        target: Share of the reference's quality asked for.
        against: The reference: the ``whole`` set, or the ``best`` of all that were tried.
        ratios: To try, besides the recipe's own.
        options: Of the trainings.
        sample: Pairs drawn from the pool for the trainings at most.
        validate_on: Run folder that has encoded pairs known to fit, by the same captioner; None holds out pairs of
            the pool.
        text_weights: A BERT sentence encoder; "" takes the one that the recipe's config names.
        device: Where the sentence encoder runs.

    Returns:
        - ``run``, ``recipe``, ``selection`` (config of the stage select)
        - ``whole`` and ``ratios``: facts of the whole set and of each ratio: ``ratio``; the `statistics`;
          ``mean_recall``, ``quality`` and their standard errors ``recall_error``, ``quality_error``
        - ``recommendation``: `Recommendation.facts`
        - ``trainings``: ``num_steps``, ``num_seeds``, ``num_pairs``, ``num_held_out``
        - ``notes``: what the advice rests on, in words

    Raises:
        ValueError: If the recipe is not finished, another version made it, there is no sentence encoder, there are too
            few pairs, or a setting is out of range.
    """
    options = options or TrialOptions()
    _check(target, ratios, options, sample)
    recipe = FinishedSet(run, name)
    weights = text_weights or recipe.sentence_weights()
    if not weights:
        raise ValueError(
            "the trainings embed captions with a sentence encoder, and the recipe's config names none "
            "(run.similarity_weights): give a BERT's folder or hub name by --text-weights."
        )
    rule = rule_of(recipe)
    standings = stand_all(recipe, rule)
    check_kept(recipe, standings)
    validation = None if validate_on is None else encoded_pairs(validate_on, recipe.model_digest)
    tried, exhausted = _tried(standings, [*ratios, recipe.selection["keep_ratio"]])
    pool = draw_pool(recipe, sample, options.seed)
    texts = TextFeatures(SentenceEncoder(weights).to(device))
    trials = run_trials(pool, rule, tried, texts, options, validation)
    found = recommend(trials.recalls, trials.whole, target=target, against=against, overlap=trials.overlap)
    arms = [None, *trials.recalls]
    covered = statistics(recipe, standings, arms, options.twin_threshold)
    rows = [
        {"ratio": ratio, **facts, **_results(ratio, trials, found)} for ratio, facts in zip(arms, covered, strict=True)
    ]
    return {
        "run": str(run),
        "recipe": recipe.folder.name,
        "selection": recipe.selection,
        "whole": rows[0],
        "ratios": rows[1:],
        "recommendation": found.facts(),
        "trainings": {
            "num_steps": trials.num_steps,
            "num_seeds": options.num_seeds,
            "num_pairs": len(pool),
            "num_held_out": trials.num_held_out,
        },
        "notes": notes(pool, trials, options, exhausted, is_apart=validation is not None),
    }


def _check(target: float, ratios: Sequence[float], options: TrialOptions, sample: int) -> None:
    if not 0 < target < math.inf:
        raise ValueError(f"--target is {target}; it must be above 0, such as 0.95 for 95% of what the whole set gives.")
    for ratio in ratios:
        keep_budget(1, ratio)
    for flag, value in (("--seeds", options.num_seeds), ("--sample", sample), ("--batch-size", options.batch_size)):
        if value < 1:
            raise ValueError(f"{flag} is {value}; it must be at least 1.")
    if not 0 < options.trusted_share <= 1:
        raise ValueError(f"--trusted is {options.trusted_share}; it must be in (0, 1], a share of the pairs.")
    if not 0 < options.epochs < math.inf:
        raise ValueError(f"--epochs is {options.epochs}; it must be above 0.")


def _tried(standings: Standings, ratios: Sequence[float]) -> tuple[list[float], list[float]]:
    """The ratios in order, and apart those that keep no more than a smaller one, since nothing is left to keep."""
    tried, exhausted, most = [], [], 0
    for ratio in sorted(set(ratios)):
        number = int(standings.kept(ratio).sum())
        (tried if number > most else exhausted).append(ratio)
        most = max(most, number)
    return tried, exhausted


def _results(ratio: float | None, trials: Trials, found: Recommendation) -> dict:
    recalls = trials.whole if ratio is None else trials.recalls[ratio]
    quality = None if ratio is None else found.qualities[ratio]
    return {
        "mean_recall": sum(recalls) / len(recalls),
        "recall_error": standard_error(recalls, trials.overlap),
        "quality": None if quality is None else quality.mean,
        "quality_error": None if quality is None else quality.error,
    }
