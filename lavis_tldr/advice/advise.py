"""``lavis-tldr advise RUN``: how much of a set to keep for a quality target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lavis_tldr.advice.account import notes
from lavis_tldr.advice.coverage import coverage_by_ratio
from lavis_tldr.advice.finished import FinishedSet
from lavis_tldr.advice.planned import MAX_STEPS, PlannedTraining, budget_facts
from lavis_tldr.advice.planned_account import budget_notes
from lavis_tldr.advice.pool import draw_pool, encoded_pairs
from lavis_tldr.advice.recommendation import WHOLE, Recommendation, recommend
from lavis_tldr.advice.selections import check_kept, rule_of, stand_all
from lavis_tldr.advice.trainings import TrainingOptions, Trainings, run_ladder, run_trainings
from lavis_tldr.models.sentence_encoder import SentenceEncoder, TextFeatures
from lavis_tldr.reduction.quotas import keep_budget
from lavis_tldr.reduction.selection import Standings
from lavis_tldr.report.spread import Spread

RATIOS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75)


def advise(
    run: Path,
    *,
    name: str | None = None,
    target: float = 1.0,
    against: str = WHOLE,
    ratios: Sequence[float] = RATIOS,
    options: TrainingOptions | None = None,
    sample: int = 50_000,
    validate_on: Path | None = None,
    text_weights: str = "",
    device: str = "cpu",
    samples_seen: int | None = None,
    max_steps: int = MAX_STEPS,
) -> dict:
    """Say which keep ratio of a finished set to take.

    Args:
        run: The run folder, or the reduced set's folder in it.
        name: The reduced set, where the run has several.
        target: Share of the reference's quality asked for.
        against: The reference: the ``whole`` set, or the ``best`` of all that were tried.
        ratios: To try, besides the set's own.
        options: Of the trainings.
        sample: Pairs drawn from the pool for the trainings at most.
        validate_on: Run folder that has encoded pairs known to fit, by the same captioner; None holds out pairs of
            the pool.
        text_weights: A BERT sentence encoder; "" takes the one that the set's config names.
        device: Where the sentence encoder runs.
        samples_seen: Pairs that the planned training will see, repetitions counted: asks for the best share for it,
            from trainings of several lengths; ``options.epochs`` has no say then.
        max_steps: Longest of these.

    Returns:
        - ``run``, ``set`` (its name), ``selection`` (config of the stage select)
        - ``whole`` and ``ratios``: facts of the whole set and of each ratio: ``ratio``; those of `coverage_by_ratio`;
          ``mean_recall``, ``quality`` and their standard errors ``recall_error``, ``quality_error``
        - ``recommendation``: `Recommendation.facts`
        - ``trainings``: ``num_steps``, ``num_seeds``, ``num_pairs``, ``num_held_out``
        - ``budget``: where ``samples_seen`` is given, `planned.budget_facts`; ``ratios`` and ``trainings`` are then
          those of the longest trainings
        - ``notes``: what the advice rests on, in words

    Raises:
        ValueError: If the set is not finished, another version made it, there is no sentence encoder, there are too
            few pairs, or a setting is out of range.
    """
    options = options or TrainingOptions()
    _check(target, ratios, options, sample)
    _check_planned(samples_seen, max_steps)
    finished = FinishedSet(run, name)
    weights = text_weights or finished.sentence_weights()
    if not weights:
        raise ValueError(
            "the trainings embed captions with a sentence encoder, and the set's config names none "
            "(run.similarity_weights): give a BERT's folder or hub name by --text-weights."
        )
    rule = rule_of(finished)
    standings = stand_all(finished, rule)
    check_kept(finished, standings)
    validation = None if validate_on is None else encoded_pairs(validate_on, finished.model_digest)
    tried, exhausted = _tried(standings, [*ratios, finished.selection["keep_ratio"]])
    pool = draw_pool(finished, sample, options.seed)
    texts = TextFeatures(SentenceEncoder(weights).to(device))
    if samples_seen is None:
        trained, planned = [run_trainings(pool, rule, tried, texts, options, validation)], None
    else:
        planned = PlannedTraining(samples_seen, len(standings.cluster_ids), max_steps)
        steps = partial(planned.steps, batch_size=options.batch_size)
        trained = run_ladder(pool, rule, tried, texts, options, steps, validation)
    trainings = trained[-1]
    found = recommend(trainings.recalls, trainings.whole, target=target, against=against, overlap=trainings.overlap)
    arms = [None, *trainings.recalls]
    covered = zip(arms, coverage_by_ratio(finished, standings, arms, options.twin_threshold), strict=True)
    rows = [{"ratio": ratio, **facts, **_results(ratio, trainings, found)} for ratio, facts in covered]
    told = {}
    if planned is not None:
        told["budget"] = budget_facts(planned, trained, standings, options.batch_size, options.seed)
        options = replace(options, epochs=round(told["budget"]["lengths"][-1]["passes"], 2))
    rests_on = notes(pool, trainings, options, exhausted, is_apart=validation is not None)
    return {
        "run": str(run),
        "set": finished.folder.name,
        "selection": finished.selection,
        "whole": rows[0],
        "ratios": rows[1:],
        "recommendation": found.facts(),
        "trainings": {
            "num_steps": trainings.num_steps,
            "num_seeds": options.num_seeds,
            "num_pairs": len(pool),
            "num_held_out": trainings.num_held_out,
        },
        **told,
        "notes": [*rests_on, *(budget_notes(told["budget"], len(pool)) if told else [])],
    }


def _check(target: float, ratios: Sequence[float], options: TrainingOptions, sample: int) -> None:
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


def _check_planned(samples_seen: int | None, max_steps: int) -> None:
    for flag, value in (("--samples-seen", 1 if samples_seen is None else samples_seen), ("--max-steps", max_steps)):
        if value < 1:
            raise ValueError(f"{flag} is {value}; it must be at least 1.")


def _tried(standings: Standings, ratios: Sequence[float]) -> tuple[list[float], list[float]]:
    """The ratios in order, and apart those that keep no more than a smaller one, since nothing is left to keep."""
    tried, exhausted, most = [], [], 0
    for ratio in sorted(set(ratios)):
        number = int(standings.repeats(ratio).sum())
        (tried if number > most else exhausted).append(ratio)
        most = max(most, number)
    return tried, exhausted


def _results(ratio: float | None, trainings: Trainings, found: Recommendation) -> dict:
    recalls = trainings.whole if ratio is None else trainings.recalls[ratio]
    quality = None if ratio is None else found.qualities[ratio]
    recall = Spread.of(recalls)
    return {
        "mean_recall": recall.mean,
        "recall_error": recall.standard_error(trainings.overlap),
        "quality": None if quality is None else quality.mean,
        "quality_error": None if quality is None else quality.error,
    }
