"""What becomes a sample's caption: the original T_o, the generated T_g, or both (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

ORIGINAL, GENERATED, BOTH, DRAWN = "original", "generated", "original_generated", "drawn"
GENERATED_FIRST = "generated_original"
# How the generated caption was come by: decoded or drawn from the captioner, or borrowed from another pair.
DECODED, SAMPLED, BORROWED = "decoded", "sampled", "borrowed"


@dataclass(frozen=True)
class Origin:
    """Where a caption comes from.

    Attributes:
        told: How a report calls the caption.
        fuse: ``fuse(original, generated, joiner)`` makes the caption of the two, neither of them empty.
    """

    told: str
    fuse: Callable[[str, str, str], str]


@dataclass(frozen=True)
class Recipe:
    """Which of `ORIGINS` becomes the caption of each sample.

    Attributes:
        choose: ``choose(original, alignment=..., alignment_generated=..., threshold=..., margin=...)`` names, for each
            of N original captions, one of `ORIGINS`.
        explain: ``explain(origin, alignments, threshold, margin)`` says of one sample why it was this one, by the
            alignments of the original and of the generated caption, None where there is none. None for a recipe that
            names the same for all samples, and needs no alignment.
        generates: Whether a generated caption may become the caption.
    """

    choose: Callable[..., list[str]]
    explain: Callable[[str, Sequence[float | None], float, float], str] | None = None
    generates: bool = True

    @property
    def needs_alignment(self) -> bool:
        """Whether it needs the alignment of both captions, and the threshold."""
        return self.explain is not None


def refine_captions(
    original: Sequence[str],
    generated: Sequence[str],
    recipe: str,
    *,
    alignment: Sequence[float] | None = None,
    alignment_generated: Sequence[float] | None = None,
    threshold: float | None = None,
    margin: float = 0.0,
    joiner: str = "; ",
) -> tuple[list[str], list[str]]:
    """The caption of each sample by a recipe, and where it comes from.

    - ``original``: T_o.
    - ``generated``: T_g (the paper warns of collapse in training: its Figure 3).
    - ``original_generated``: T_o + T_g, the paper's.
    - ``drawn``: both are kept, and training draws one of them at every epoch (`tldr_reduced`). Differs from the paper:
      no text is longer than one caption. Who reads captions without drawing finds them joined.
    - ``gated``: those of the two whose alignment reaches the threshold, joined where both do, the better aligned first:
      who reads no more than so many tokens loses the worse half. Where one or none does, T_g if it is better aligned
      than T_o by the margin, else T_o. Differs from the paper: a caption that speaks of something else does not
      survive beside a good one.
    - ``gated_drawn``: the same, but where both fit both are kept, and training draws one of them at every epoch.

    Where the caption that a recipe wants is empty, the other one stands in, and the second result says so.

    Args:
        original: Original captions T_o, (N,).
        generated: Generated captions T_g, (N,).
        recipe: One of ``RECIPES``.
        alignment: Of the original caption with its image, (N,), for gates; NaN is below everything.
        alignment_generated: Of the generated caption with its image, likewise.
        threshold: For gates: the alignment from which on a caption fits.
        margin: For gates: by how much T_g must be better aligned to take T_o's place; it was chosen by its alignment,
            so that this flatters it.
        joiner: Between the two captions. "; " is the paper's authors'.

    Returns:
        Captions, (N,), and their origins, (N,): one of ``ORIGINS``, or "" where both captions are empty.

    Raises:
        ValueError: If the recipe is unknown, if it lacks what it needs, or if the lengths differ.
    """
    if recipe not in RECIPES:
        raise ValueError(f"refine recipe is {recipe!r}; it must be one of {sorted(RECIPES)}.")
    if len(original) != len(generated):
        raise ValueError(f"{len(original)} original captions but {len(generated)} generated ones; join them by key.")
    wanted = RECIPES[recipe].choose(
        original, alignment=alignment, alignment_generated=alignment_generated, threshold=threshold, margin=margin
    )
    fused = [_fuse(*pair, joiner) for pair in zip(original, generated, wanted, strict=True)]
    return [caption for caption, _ in fused], [source for _, source in fused]


def _fuse(original: str, generated: str, wanted: str, joiner: str) -> tuple[str, str]:
    original, generated = original.strip(), generated.strip()
    if original and generated:
        return ORIGINS[wanted].fuse(original, generated, joiner), wanted
    if original or generated:
        return original or generated, ORIGINAL if original else GENERATED
    return "", ""


def _join(first: str, second: str, joiner: str) -> str:
    return f"{first}{joiner}{second}"


def _always(origin: str) -> Recipe:
    return Recipe(lambda original, **_: [origin] * len(original), generates=origin != ORIGINAL)


def _gate(both: str, both_reversed: str) -> Callable[..., list[str]]:
    """A choice by alignment.

    Args:
        both: The origin where both captions fit and T_o is no worse than T_g.
        both_reversed: Where T_g is better.
    """

    def fitting(alignment: float, alignment_generated: float, threshold: float, margin: float) -> str:
        if min(alignment, alignment_generated) >= threshold:
            return both_reversed if alignment_generated > alignment else both
        # Compared so that two that are -inf differ by nothing.
        better = alignment_generated > alignment and alignment_generated >= alignment + margin
        return GENERATED if better else ORIGINAL

    def choose(original: Sequence[str], *, alignment, alignment_generated, threshold, margin=0.0) -> list[str]:
        if alignment is None or alignment_generated is None or threshold is None:
            raise ValueError("a gated recipe needs an alignment score of each caption of both kinds, and a threshold.")
        for scores in (alignment, alignment_generated):
            if len(scores) != len(original):
                raise ValueError(f"{len(scores)} alignment scores for {len(original)} captions; join them by key.")
        known = [np.nan_to_num(np.asarray(s, np.float64), nan=-np.inf) for s in (alignment, alignment_generated)]
        return [fitting(*pair, threshold, margin) for pair in zip(*known, strict=True)]

    return choose


def _why_fitting(origin: str, alignments: Sequence[float | None], threshold: float, margin: float) -> str:
    shown = ["none" if value is None else f"{value:.4g}" for value in alignments]
    if origin not in (ORIGINAL, GENERATED):
        return f"their alignments {shown[0]} and {shown[1]} reach the threshold {threshold:.4g}"
    own, other = shown if origin == ORIGINAL else reversed(shown)
    reach = [value is not None and value >= threshold for value in alignments]
    if reach[origin == GENERATED]:
        return f"its alignment {own} reaches the threshold {threshold:.4g}, the other's {other} does not"
    if any(reach):  # the generated one does, and is not better by the margin
        return f"the other's alignment {other} is not above its own {own} by the margin {margin:.4g}"
    told = f"neither reaches the threshold {threshold:.4g}; "
    if margin and origin == ORIGINAL:
        return f"{told}the other's alignment {other} is not above its own {own} by the margin {margin:.4g}"
    by = f", but above it by the margin {margin:.4g}" if margin else ""
    return f"{told}its alignment {own} is not below the other's {other}{by}"


ORIGINS = {
    ORIGINAL: Origin("the original", lambda original, generated, joiner: original),
    GENERATED: Origin("the generated one", lambda original, generated, joiner: generated),
    BOTH: Origin("both, joined", _join),
    GENERATED_FIRST: Origin(
        "both, joined, the generated one first",
        lambda original, generated, joiner: _join(generated, original, joiner),
    ),
    DRAWN: Origin("both, one of them drawn at every epoch of training", _join),
}
RECIPES: dict[str, Recipe] = {
    "original": _always(ORIGINAL),
    "generated": _always(GENERATED),
    "original_generated": _always(BOTH),
    "drawn": _always(DRAWN),
    "gated": Recipe(_gate(BOTH, GENERATED_FIRST), explain=_why_fitting),
    "gated_drawn": Recipe(_gate(DRAWN, DRAWN), explain=_why_fitting),
}
