"""Accuracy and consistency of NLVR2 (lil-lab/nlvr, nlvr2/eval; Suhr et al. 2019, section 6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lavis_tldr.evaluation.predictions import check_ids

_TRUTHS = ("true", "false")


def nlvr_metrics(
    predictions: Iterable[tuple[str, str | bool]], examples: Iterable[tuple[str, str]]
) -> dict[str, float]:
    """How many sentences are told right with their pair of images, and how many with all their pairs.

    Args:
        predictions: Identifier and "True" or "False" (or a bool) of each example, in any order.
        examples: Identifier (``split-set-pair-sentence``) and label of each; labels are compared case-blind.

    Returns:
        ``acc`` and ``consistency``, in percent.

    Raises:
        ValueError: If an identifier is missing, doubled, unknown or of another form, or a label neither true nor false.
    """
    predictions, examples = list(predictions), list(examples)
    check_ids((name for name, _ in predictions), (name for name, _ in examples), "identifier")
    given = {name: _truth(name, value) for name, value in predictions}
    right = {name: given[name] == _truth(name, label) for name, label in examples}
    return {"acc": _percent(right.values()), "consistency": _percent(_by_sentence(right).values())}


def _by_sentence(right: Mapping[str, bool]) -> dict[tuple[str, ...], bool]:
    """Whether all pairs of a sentence are right: examples whose identifiers differ in the pair field alone."""
    sentences: dict[tuple[str, ...], bool] = {}
    for name, is_right in right.items():
        fields = str(name).split("-")
        if len(fields) != 4:
            raise ValueError(f"the identifier {name!r} is no split-set-pair-sentence, such as dev-7-0-1.")
        sentence = (*fields[:2], fields[3])
        sentences[sentence] = sentences.get(sentence, True) and is_right
    return sentences


def _truth(name: str, value: str | bool) -> str:
    truth = str(value).lower()
    if truth not in _TRUTHS:
        raise ValueError(f"{name} has the label {value!r}; expected True or False.")
    return truth


def _percent(right: Iterable[bool]) -> float:
    right = list(right)
    return 100 * sum(right) / len(right)
