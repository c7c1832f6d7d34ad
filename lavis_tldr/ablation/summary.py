"""The results of an ablation in numbers: a row for each arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean, stdev

from lavis_tldr.ablation.results import Result
from lavis_tldr.ablation.settings import Ablation, Arm


@dataclass(frozen=True)
class Row:
    """An arm's results.

    Attributes:
        arm: The arm.
        results: Of the seeds that are done, by seed.
        means: Of each metric over the seeds.
        deviations: Sample standard deviation of each metric; absent where there is but one seed.
        difference: Of the first reported metric to the first reference's; None for that, or where one is missing.
        note: Why there is no result, or "".
    """

    arm: Arm
    results: dict[int, Result] = field(default_factory=dict)
    means: dict[str, float] = field(default_factory=dict)
    deviations: dict[str, float] = field(default_factory=dict)
    difference: float | None = None
    note: str = ""

    @property
    def pairs(self) -> int:
        """How many the reduced sets have, on average."""
        return round(fmean(result.pairs for result in self.results.values())) if self.results else 0


def summarize(ablation: Ablation, results: Mapping[str, Mapping[int, Result]]) -> list[Row]:
    """A row for each arm in the ablation's order.

    Args:
        ablation: The ablation.
        results: By arm's name and seed: those that count, failures among them.
    """
    found: dict[str, Row] = {}
    shown = ablation.report[0]
    baseline = next((arm.name for arm in ablation.arms if arm.is_reference), None)
    for arm in ablation.arms:
        mine = results.get(arm.name, {})
        done = {seed: result for seed, result in sorted(mine.items()) if not result.error}
        failures = [result.error for result in mine.values() if result.error]
        means, deviations = _spread(done)
        reference = found[baseline].means.get(shown) if baseline in found else None
        difference = means[shown] - reference if shown in means and reference is not None else None
        note = f"failed: {failures[0]}" if failures else ("" if done else "not run")
        note = arm.obstacle if arm.obstacle and not done else note
        found[arm.name] = Row(arm, done, means, deviations, difference, note)
    return list(found.values())


def _spread(results: Mapping[int, Result]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and sample standard deviation of each metric."""
    if not results:
        return {}, {}
    names = next(iter(results.values())).metrics
    values = {name: [result.metrics[name] for result in results.values()] for name in names}
    deviations = {name: stdev(column) for name, column in values.items()} if len(results) > 1 else {}
    return {name: fmean(column) for name, column in values.items()}, deviations
