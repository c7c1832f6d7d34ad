"""What an advice rests on, in words."""

from __future__ import annotations

from collections.abc import Sequence

from lavis_tldr.advice.pool import Pool
from lavis_tldr.advice.trials import TrialOptions, Trials
from lavis_tldr.report.wording import count


def notes(
    pool: Pool, trials: Trials, options: TrialOptions, exhausted: Sequence[float], *, is_apart: bool
) -> list[str]:
    """Sentences, each to stand for itself.

    Args:
        pool: Drawn pairs.
        trials: What came of the trainings.
        options: How they were made.
        exhausted: Ratios left out, which keep no more than smaller ones.
        is_apart: Whether they were scored on a validation set apart.
    """
    told = [_scored_on_apart(trials) if is_apart else _scored_on_pool(pool, trials, options)]
    if options.trusted_share < 1 and not is_apart:
        told.append(
            "The scores that choose what is scored on may choose what is kept as well: small ratios then look better "
            "than they are."
        )
    told.append("Among more pairs to score on the right one is harder to find, and sets differ more.")
    told += [
        f"Every training is {count(trials.num_steps)} steps of a small retrieval model over frozen features, "
        f"{options.epochs:g} passes over the whole set; a longer training asks for more pairs.",
        "Original captions: what refining adds is not in the curve.",
        f"Near duplicates: of one cluster, cosine of their centred features {options.twin_threshold:g} or more.",
    ]
    told += _left_out(exhausted, "keep no more than a smaller one: near duplicates and what is filtered are never kept")
    return told + _left_out(trials.too_small, f"keep fewer drawn pairs than a batch of {options.batch_size} takes")


def _scored_on_apart(trials: Trials) -> str:
    return f"Scored on the {count(trials.num_held_out)} captions of the set given by --validate-on."


def _scored_on_pool(pool: Pool, trials: Trials, options: TrialOptions) -> str:
    best = options.trusted_share
    where = f"the {best:.0%} with the best alignment" if best < 1 else "all, right or wrong"
    same = f"images nearly the same (cosine {options.twin_threshold:g})"
    return (
        f"Scored on {count(trials.num_held_out)} pairs held out of {count(len(pool))} drawn ones, others for every "
        f"seed, from {where}; nothing trains on them, nor on {same}."
    )


def _left_out(ratios: Sequence[float], why: str) -> list[str]:
    return [f"Left out: {', '.join(f'{ratio:g}' for ratio in ratios)}, which {why}."] if ratios else []
