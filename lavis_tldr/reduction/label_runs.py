"""Runs of equal labels in sorted arrays."""

from __future__ import annotations

import numpy as np


def places_in_runs(labels: np.ndarray) -> np.ndarray:
    """Position of each row in its run of equal labels, (N,)."""
    new = np.append(True, labels[1:] != labels[:-1])[: len(labels)]
    starts = np.flatnonzero(new)
    return np.arange(len(labels)) - np.repeat(starts, np.diff(np.append(starts, len(labels))))
