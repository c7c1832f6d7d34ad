"""What repeated measurements say: mean, standard deviation and standard error over the seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev


@dataclass(frozen=True)
class Spread:
    """Of one figure measured S times, once with every seed.

    Attributes:
        mean: Of the S values.
        deviation: Sample standard deviation (S - 1 in the denominator); None for a single value.
        count: S.
    """

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of (S,) values, S at least 1."""
        values = [float(value) for value in values]
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))

    def standard_error(self, overlap: float = 0.0) -> float | None:
        """Standard error of the mean; None for a single value.

        Args:
            overlap: Samples scored on over samples trained on, where every seed scores on others of one set and trains
                on the rest: as the training sets overlap, seeds are no independent trials (Nadeau and Bengio, Machine
                Learning 52, 2003: the variance of the mean is the seeds' variance times 1/S plus this).
        """
        return None if self.deviation is None else self.deviation * sqrt(1 / self.count + overlap)


def with_error(shown: str, error: float | None, spec: str = ".2f") -> str:
    """``"12.00"`` and ``0.5`` as ``"12.00 ± 0.50"``; the first alone where there is no error."""
    return shown if error is None else f"{shown} ± {error:{spec}}"
