"""Zero-shot classification by prompts (CLIP, arXiv:2103.00020, sec. 3.1).

N images, C classes, T templates, E embedding width.
"""

from collections.abc import Callable, Sequence

import numpy as np
from lavis.models.clip_models.model import openai_imagenet_template

from lavis_tldr.evaluation.ranks import best_ranks, hit_rate

_OPENAI7 = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
# By name: OpenAI's 80 of the paper, the 7 that they found as good, and one.
TEMPLATES: dict[str, tuple[Callable[[str], str], ...]] = {
    "openai80": tuple(openai_imagenet_template),
    "openai7": tuple(template.format for template in _OPENAI7),
    "single": ("a photo of a {}.".format,),
}


def prompts_of(names: Sequence[str], templates: str) -> list[list[str]]:
    """Each template's prompts of all classes, T lists of C.

    Raises:
        ValueError: If there are no templates of that name.
    """
    if templates not in TEMPLATES:
        raise ValueError(f"run.templates is {templates!r}; expected one of {', '.join(TEMPLATES)}.")
    return [[template(name) for name in names] for template in TEMPLATES[templates]]


def prompt_classifier(embeddings: np.ndarray) -> np.ndarray:
    """A class's weights: the mean of its prompts' unit embeddings, of length 1 again; (C, T, E) -> (C, E).

    Not the mean of the prompts' logits, which has another order.
    """
    mean = _unit(embeddings).mean(1)
    return _unit(mean)


def classifier_logits(images: np.ndarray, classifier: np.ndarray) -> np.ndarray:
    """100 x cosine, (N, E) and (C, E) -> (N, C)."""
    return 100 * _unit(images) @ classifier.T


def zero_shot_figures(logits: np.ndarray, labels: Sequence[int], numbers: Sequence[int]) -> dict[str, float]:
    """How often the right class is first, or among the first five, in percent.

    Args:
        logits: Of the set's classes alone, (N, C). What a model says of others does not count.
        labels: Number of each image's class.
        numbers: Numbers of the set's classes, as the columns have them. Where two classes have one name and so the same
            logits ("missile", "sunglasses"), the first one wins.

    Returns:
        ``acc``, ``acc5``, ``chance`` (of guessing one class for all), and ``agg_metrics``, the same as ``acc``.

    Raises:
        ValueError: If a logit is NaN or infinite, or a label is none of the set's.
    """
    column = {number: place for place, number in enumerate(numbers)}
    if strange := [label for label in labels if label not in column]:
        raise ValueError(f"label {strange[0]} is none of the set's {len(column)} classes.")
    ranks = best_ranks(logits, [[column[label]] for label in labels])
    acc = hit_rate(ranks, 1)
    return {"acc": acc, "acc5": hit_rate(ranks, 5), "chance": 100 / len(column), "agg_metrics": acc}


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
