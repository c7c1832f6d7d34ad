"""Weights of a mixture of scores, learnt from pairs known to be right and the same with their captions swapped.

Shapes: N right and M wrong pairs, S scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lavis_tldr.reduction.alignments import Moments

_RIDGE = 1.0  # on the weights of standardized scores: without it, scores that tell all apart would get endless ones
_MOST_STEPS, _CONVERGED = 100, 1e-9
_FEWEST_PAIRS = 20


@dataclass(frozen=True)
class FittedMixture:
    """Logistic regression on standardized scores: the log-odds that a pair is right and not swapped.

    Attributes:
        weights: Of each standardized score.
        moments: By which each was standardized: those of the pairs that it was fitted on.
        intercept: Log-odds of a pair whose scores are all at their means.
        num_right, num_wrong: Pairs that it was fitted on.
    """

    weights: Mapping[str, float]
    moments: Mapping[str, Moments]
    intercept: float
    num_right: int
    num_wrong: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON can say it; `from_dict` reads it."""
        scores = {
            name: {"weight": weight, "mean": self.moments[name].mean, "deviation": self.moments[name].deviation}
            for name, weight in self.weights.items()
        }
        return {
            "scores": scores,
            "intercept": self.intercept,
            "num_right": self.num_right,
            "num_wrong": self.num_wrong,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> FittedMixture:
        """The mixture that `as_dict` told; a KeyError or TypeError where it is none."""
        scores = found["scores"]
        return cls(
            {name: float(score["weight"]) for name, score in scores.items()},
            {name: Moments(float(score["mean"]), float(score["deviation"])) for name, score in scores.items()},
            float(found["intercept"]),
            int(found["num_right"]),
            int(found["num_wrong"]),
        )


def fit_mixture(right: Mapping[str, np.ndarray], wrong: Mapping[str, np.ndarray]) -> FittedMixture:
    """Fit weights by logistic regression with a ridge of 1, classes weighted alike.

    Args:
        right: Scores of right pairs by name, (N,) each; a pair with a NaN is left out.
        wrong: The same of wrong pairs, (M,) each.

    Raises:
        ValueError: If fewer than 20 pairs of a kind have all scores.
    """
    names = list(right)
    x, y = _known(right, names), _known(wrong, names)
    for what, found in (("right", x), ("swapped", y)):
        if len(found) < _FEWEST_PAIRS:
            raise ValueError(
                f"run.mixture fitted learns its weights from pairs known to be right and the same with their captions "
                f"swapped, and only {len(found)} {what} ones have all scores ({', '.join(names)}); {_FEWEST_PAIRS} are "
                "needed. Give more in datasets.tldr_captions.train, or give the weights in run.mixture."
            )
    both, labels = np.concatenate([x, y]), np.repeat([1.0, 0.0], [len(x), len(y)])
    moments = {name: Moments.over(lambda i=i: [both[:, i]]) for i, name in enumerate(names)}
    standardized = np.stack([moments[name].standardize(both[:, i]) for i, name in enumerate(names)], 1)  # (N + M, S)
    balance = np.where(labels == 1, len(labels) / (2 * len(x)), len(labels) / (2 * len(y)))
    found = _logistic(standardized, labels, balance)
    weights = {name: float(found[i]) for i, name in enumerate(names)}
    return FittedMixture(weights, moments, float(found[-1]), len(x), len(y))


def _known(scores: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Rows without a NaN, (n, S)."""
    rows = np.stack([np.asarray(scores[name], np.float64) for name in names], 1)
    return rows[~np.isnan(rows).any(1)]


def _logistic(x: np.ndarray, labels: np.ndarray, balance: np.ndarray) -> np.ndarray:
    """Weights and then the intercept, (S + 1,), by Newton's method; the intercept is not shrunk."""
    x = np.column_stack([x, np.ones(len(x))])
    ridge = _RIDGE * np.eye(x.shape[1])
    ridge[-1, -1] = 0.0
    found = np.zeros(x.shape[1])
    for _ in range(_MOST_STEPS):
        odds = np.clip(x @ found, -500, 500)
        right = 1 / (1 + np.exp(-odds))
        gradient = x.T @ (balance * (right - labels)) + ridge @ found
        curvature = (x.T * (balance * right * (1 - right))) @ x + ridge
        step = np.linalg.solve(curvature + 1e-9 * np.eye(len(curvature)), gradient)
        # Far off, a whole step may go too far.
        found = found - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < _CONVERGED:
            break
    return found
