"""How much to keep for a planned training (`lavis-tldr advise --samples-seen`): from trainings of several lengths.

Shapes: R lengths, A shares, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from lavis_tldr.advice.budget import WHOLE_SET, ladder, recommend_share
from lavis_tldr.advice.trainings import Trainings
from lavis_tldr.reduction.selection import Standings
from lavis_tldr.report.spread import Spread

MAX_STEPS = 1000


@dataclass(frozen=True)
class PlannedTraining:
    """A training that a set is to be kept for.

    Attributes:
        samples_seen: Pairs seen in it, repetitions counted: steps times batch size.
        num_pairs: Of the whole set.
        max_steps: Longest training of the advisor's own.
    """

    samples_seen: int
    num_pairs: int
    max_steps: int = MAX_STEPS

    @property
    def passes(self) -> float:
        """Pairs seen over pairs of the whole set."""
        return self.samples_seen / self.num_pairs

    def steps(self, num_whole: float, batch_size: int) -> list[int]:
        """Numbers of steps to train for, where the whole set has ``num_whole`` pairs to train on."""
        return ladder(self._steps(num_whole, batch_size), self.max_steps)

    def is_reached(self, num_whole: float, batch_size: int) -> bool:
        """Whether the longest of these is as long as the planned training."""
        return self._steps(num_whole, batch_size) <= self.max_steps

    def _steps(self, num_whole: float, batch_size: int) -> int:
        return round(self.passes * num_whole / batch_size)


def budget_facts(
    planned: PlannedTraining, trained: Sequence[Trainings], standings: Standings, batch_size: int, seed: int
) -> dict:
    """What to keep for a planned training.

    Args:
        planned: The training.
        trained: What came of the trainings of each length, (R,), shortest first.
        standings: Of all samples of the set.
        batch_size: Of the trainings.
        seed: Of the seeds drawn anew for the spread.

    Returns:
        - ``samples_seen``, ``passes``, ``max_steps``, ``num_pairs`` (of the whole set): what is planned
        - ``ratio`` to keep (None: the whole set), ``pairs``, ``repeats`` of an image, ``gain`` over the whole set
          (0.05: 5% more) and its standard error ``gain_error``; ``low`` and ``high``, ratios that two in three
          recommendations of other seeds lie between; ``verdict`` (one of `budget`'s)
        - ``best_reduced``: ``ratio``, ``gain`` and ``gain_error`` of the best share, also where it is not recommended
        - ``beyond``, ``growth``: as `budget.Budget` has them
        - ``lengths``, shortest first: ``num_steps``, ``passes``, ``samples_seen`` of as many passes over the whole set,
          ``best`` (`budget.BestShare`, and ``repeats`` and the ``ratio`` tried; None where nothing was learnt), and
          ``arms``: ``ratio``, ``mean_recall``, ``recall_error`` of each

    Raises:
        ValueError: As `budget.recommend_share`.
    """
    first = trained[0]
    arms = _arms(first)
    shares = [1.0 if ratio is None else first.num_kept[ratio] / first.num_whole for ratio in arms]
    recalls = np.array([[of.whole if ratio is None else of.recalls[ratio] for ratio in arms] for of in trained])
    passes = [of.num_steps * batch_size / of.num_whole for of in trained]
    reached = planned.is_reached(first.num_whole, batch_size)
    length = passes[-1] if reached else planned.passes  # a whole number of steps is not quite as long
    found = recommend_share(passes, shares, recalls, length, overlap=first.overlap, seed=seed)
    share = found.share
    if reached and share < 1:  # what the measured ratio keeps is a rounded share of it
        share = _nearest(arms, shares, share)
    ratio = None if found.verdict == WHOLE_SET else float(f"{share:.3g}")
    pairs = planned.num_pairs if ratio is None else int(standings.repeats(ratio).sum())
    best = {
        best.passes: {**asdict(best), "repeats": best.repeats, "ratio": _nearest(arms, shares, best.tried)}
        for best in found.lengths
    }
    return {
        "samples_seen": planned.samples_seen,
        "passes": planned.passes,
        "max_steps": planned.max_steps,
        "num_pairs": planned.num_pairs,
        "ratio": ratio,
        "pairs": pairs,
        "repeats": planned.samples_seen / pairs,
        "gain": 0.0 if ratio is None else found.gain,
        "gain_error": None if ratio is None else found.error,
        "low": found.low,
        "high": found.high,
        "verdict": found.verdict,
        "best_reduced": {"ratio": float(f"{share:.3g}"), "gain": found.gain, "gain_error": found.error},
        "beyond": found.beyond,
        "growth": found.growth,
        "lengths": [
            {
                "num_steps": of.num_steps,
                "passes": length,
                "samples_seen": round(length * planned.num_pairs),
                "best": best.get(length),
                "arms": [_arm(ratio, of) for ratio in arms],
            }
            for of, length in zip(trained, passes, strict=True)
        ],
    }


def _arms(trained: Trainings) -> list[float | None]:
    """The ratios that keep more than a smaller one and less than the whole set, ascending, and the whole set."""
    found: list[float | None] = []
    most = 0.0
    for ratio in sorted(trained.recalls):
        if most < trained.num_kept[ratio] < trained.num_whole:
            found.append(ratio)
            most = trained.num_kept[ratio]
    return [*found, None]


def _nearest(arms: Sequence[float | None], shares: Sequence[float], share: float) -> float | None:
    """The ratio that keeps a share."""
    return arms[int(np.argmin(np.abs(np.array(shares) - share)))]


def _arm(ratio: float | None, trained: Trainings) -> dict:
    recall = Spread.of(trained.whole if ratio is None else trained.recalls[ratio])
    error = recall.standard_error(trained.overlap)
    return {"ratio": ratio, "mean_recall": recall.mean, "recall_error": error}
