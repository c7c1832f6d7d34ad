"""What becomes a sample's caption: the original T_o, the generated T_g, or both (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

ORIGINAL, GENERATED, BOTH = "original", "generated", "original_generated"
CAPTION_SOURCES = (ORIGINAL, GENERATED, BOTH)

# A recipe names, for each sample, which caption it wants (one of CAPTION_SOURCES).
Recipe = Callable[..., list[str]]


def refine_captions(
    original: Sequence[str],
    generated: Sequence[str],
    recipe: str,
    *,
    alignment: Sequence[float] | None = None,
    threshold: float | None = None,
    joiner: str = "; ",
) -> tuple[list[str], list[str]]:
    """The caption of each sample by a recipe, and where it comes from.

    - ``original``: T_o.
    - ``generated``: T_g (the paper warns of collapse in training: its Figure 3).
    - ``original_generated``: T_o + T_g, the paper's.
    - ``gated``: T_o where its alignment reaches the threshold, else T_g. Differs from the paper: an original
      that speaks of something else does not survive beside a good caption.

    Where the caption that a recipe wants is empty, the other one stands in, and the second result says so.

    Args:
        original: Original captions T_o, (N,).
        generated: Generated captions T_g, (N,).
        recipe: One of ``RECIPES``.
        alignment: Of the original caption with its image, (N,), for ``gated``; NaN counts as below the
            threshold.
        threshold: For ``gated``.
        joiner: Between the two captions. "; " is the paper's authors'.

    Returns:
        Captions, (N,), and their origins, (N,): "original", "generated", "original_generated", or "" where
        both captions are empty.

    Raises:
        ValueError: If the recipe is unknown, if it lacks what it needs, or if the lengths differ.
    """
    if recipe not in RECIPES:
        raise ValueError(f"refine recipe is {recipe!r}; it must be one of {sorted(RECIPES)}.")
    if len(original) != len(generated):
        raise ValueError(f"{len(original)} original captions but {len(generated)} generated ones; join them by key.")
    wanted = RECIPES[recipe](original, generated, alignment=alignment, threshold=threshold)
    fused = [_fuse(*pair, joiner) for pair in zip(original, generated, wanted, strict=True)]
    return [caption for caption, _ in fused], [source for _, source in fused]


def _fuse(original: str, generated: str, wanted: str, joiner: str) -> tuple[str, str]:
    original, generated = original.strip(), generated.strip()
    if original and generated:
        captions = {ORIGINAL: original, GENERATED: generated, BOTH: f"{original}{joiner}{generated}"}
        return captions[wanted], wanted
    if original or generated:
        return original or generated, ORIGINAL if original else GENERATED
    return "", ""


def _always(source: str) -> Recipe:
    return lambda original, generated, **_: [source] * len(original)


def _gated(original: Sequence[str], generated: Sequence[str], *, alignment, threshold) -> list[str]:
    if alignment is None or threshold is None:
        raise ValueError("recipe 'gated' needs an alignment score of each original caption and a threshold.")
    if len(alignment) != len(original):
        raise ValueError(f"{len(alignment)} alignment scores for {len(original)} captions; join them by key.")
    return [ORIGINAL if good else GENERATED for good in np.asarray(alignment, dtype=np.float64) >= threshold]


RECIPES: dict[str, Recipe] = {
    "original": _always(ORIGINAL),
    "generated": _always(GENERATED),
    "original_generated": _always(BOTH),
    "gated": _gated,
}
