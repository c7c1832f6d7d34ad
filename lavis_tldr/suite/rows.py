"""Results as rows of tables: seeds merged, differences to a baseline, what makes rows unlike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lavis_tldr.report.spread import Spread
from lavis_tldr.runs.manifest import changes
from lavis_tldr.suite.architectures import FAMILIES
from lavis_tldr.suite.evaluations import Figure
from lavis_tldr.suite.results import Result
from lavis_tldr.user_errors import closest

# Of a result's settings, what rows that are compared share; the model's own are the rows' matter.
_SHARED = ("run", "datasets", "lists")
_AVERAGED = ("num_pairs", "samples_seen", "device_hours")


class Column(NamedTuple):
    """What a figure of an evaluation is known by: names of evaluation, split and figure."""

    evaluation: str
    split: str
    figure: str


@dataclass(frozen=True)
class Row:
    """The results of one label.

    Attributes:
        family: CLIP, ViLT or BLIP.
        label: Its name.
        protocol: "zero-shot" or "fine-tuned".
        figures: Spread over the seeds of each figure.
        results: They are from.
    """

    family: str
    label: str
    protocol: str
    figures: dict[Column, Spread] = field(default_factory=dict)
    results: tuple[Result, ...] = ()

    @property
    def initialisation(self) -> str:
        """Of its checkpoints, in words."""
        return "; ".join(dict.fromkeys(result.initialisation for result in self.results))

    @property
    def num_seeds(self) -> int:
        return len({result.seed for result in self.results})

    @property
    def account(self) -> dict[str, float]:
        """Means over its checkpoints of what their trainings saw and took; {} where nobody kept account."""
        accounts = list({result.digest: result.account for result in self.results}.values())
        found = {name: [account[name] for account in accounts if name in account] for name in _AVERAGED}
        return {name: Spread.of(values).mean for name, values in found.items() if values}


def build_rows(results: Iterable[Result]) -> list[Row]:
    """A row for each family, label and protocol, families in their order, labels as they come.

    Raises:
        ValueError: If two results are of one label, seed and evaluation.
    """
    groups: dict[tuple[str, str, str], dict[tuple, Result]] = {}
    for result in results:
        mine = groups.setdefault((result.family, result.label, result.protocol), {})
        twin = mine.setdefault((result.evaluation, result.seed), result)
        if twin is not result:
            raise ValueError(
                f"{result.label} has two results of {result.evaluation} with seed {result.seed}: of "
                f"{twin.checkpoint} and of {result.checkpoint}. Evaluate one of them under another --name or --seed."
            )
    rows = [Row(*key, _spreads(mine.values()), tuple(mine.values())) for key, mine in groups.items()]
    return sorted(rows, key=lambda row: FAMILIES.index(row.family))  # stable


def _spreads(results: Iterable[Result]) -> dict[Column, Spread]:
    values: dict[Column, list[float]] = {}
    for result in results:
        for split, found in result.figures.items():
            for figure, value in found.items():
                values.setdefault(Column(result.evaluation, split, figure), []).append(value)
    return {column: Spread.of(found) for column, found in values.items()}


def figures_of(rows: Iterable[Row]) -> dict[Column, Figure]:
    """What the rows' results report, in the order of their evaluations."""
    found = {}
    for row in rows:
        for result in row.results:
            for split in result.figures:
                for figure in map(lambda told: Figure(**told), result.reported):
                    if figure.name in result.figures[split]:
                        found[Column(result.evaluation, split, figure.name)] = figure
    return found


def baseline_of(row: Row, rows: Sequence[Row], label: str | None) -> Row | None:
    """What a row is compared with: that of the same family and protocol with this label; None for itself."""
    if label is None or row.label == label:
        return None
    return next((r for r in rows if (r.family, r.protocol, r.label) == (row.family, row.protocol, label)), None)


def check_baseline(rows: Sequence[Row], label: str | None) -> None:
    """Refuse a baseline that is no row's label.

    Raises:
        ValueError: If there is none.
    """
    labels = {row.label for row in rows}
    if label is not None and label not in labels:
        raise ValueError(f"--baseline {label!r} is no label of these results{closest(label, labels)}.")


def unlike_settings(rows: Iterable[Row]) -> Iterator[str]:
    """A line for each evaluation of which results of a family were measured with unlike settings."""
    first: dict[tuple[str, str], Result] = {}
    told = set()
    for row in rows:
        for result in row.results:
            key = (row.family, result.evaluation)
            other = first.setdefault(key, result)
            old, new = (
                {part: {name: settings.get(name, {}) for name in _SHARED} for part, settings in r.settings.items()}
                for r in (other, result)
            )
            if key not in told and (unlike := changes(old, new)):
                told.add(key)
                yield (
                    f"{result.evaluation}, {row.family}: {other.label} and {result.label} were measured with unlike "
                    f"settings ({'; '.join(unlike[:3])})."
                )
