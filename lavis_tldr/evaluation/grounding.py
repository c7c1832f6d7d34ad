"""Accuracy of finding the box that an expression refers to (RefCOCO+; rules of MAttNet, arXiv:1801.08186).

Boxes are x, y, width, height in pixels. Accuracies are over sentences, in percent.

Shapes: K boxes of an image, H x W pixels.
"""

from collections.abc import Sequence

import numpy as np

LEAST_OVERLAP = 0.5  # with proposals, as MAttNet and ALBEF have it: right from here on. UNITER asks for more than it


def choose(scores: Sequence[float] | np.ndarray) -> int:
    """Place of the highest of K scores, the first one of equals: equal scores choose as chance does.

    Differs from ALBEF's code, which answers with the sentence before where no score is above 0.

    Raises:
        ValueError: If there is no score, or one is not finite.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 1 or not len(scores):
        raise ValueError(f"scores of boxes have the shape {scores.shape}; expected one a box, and a box at least.")
    if not np.isfinite(scores).all():
        raise ValueError(f"the scores of boxes hold {scores[~np.isfinite(scores)][0]}; expected finite numbers.")
    return int(scores.argmax())


def overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes, in [0, 1], as MAttNet computes it.

    Its pixels are inclusive: what overlaps by one pixel in width or height counts as apart.
    """
    sides = [min(a + s, b + t) - max(a, b) for a, s, b, t in zip(box[:2], box[2:4], other[:2], other[2:4], strict=True)]
    shared = sides[0] * sides[1] if min(sides) > 1 else 0.0
    union = box[2] * box[3] + other[2] * other[3] - shared
    return shared / union if union > 0 else 0.0


def is_found(chosen: Sequence[float] | None, target: Sequence[float]) -> bool:
    """Whether a proposal, or none where an image has no proposals, is the object referred to."""
    return chosen is not None and overlap(chosen, target) >= LEAST_OVERLAP


def accuracy(right: Sequence[bool]) -> float:
    """Share of the sentences whose box was found, in percent.

    Raises:
        ValueError: If there are no sentences.
    """
    if not len(right):
        raise ValueError("there are no sentences to compute an accuracy of.")
    return 100 * float(np.mean(np.asarray(right, dtype=bool)))


def chance(counts: Sequence[int]) -> float:
    """Accuracy of choosing among each sentence's boxes at random, in percent.

    Args:
        counts: Number of boxes of each sentence's image.
    """
    return 100 * float(np.mean(1 / np.asarray(counts, dtype=float)))


def heat_in_boxes(heat: np.ndarray, boxes: Sequence[Sequence[float]]) -> np.ndarray:
    """Scores of K boxes by a heat map, (K,): the heat inside by the square root of the area (ALBEF's grounding).

    A plain sum would take the largest box, a mean the smallest.

    Args:
        heat: Of the whole image, (H, W).
        boxes: K boxes, cut to whole pixels as in ALBEF.
    """
    scores = []
    for x, y, width, height in (box[:4] for box in boxes):
        inside = heat[max(int(y), 0) : max(int(y + height), 0), max(int(x), 0) : max(int(x + width), 0)]
        area = width * height
        scores.append(float(inside.sum(dtype=np.float64)) / area**0.5 if area > 0 else 0.0)
    return np.array(scores)
