"""VQA accuracy as the official evaluator has it since March 2021 (GT-Vision-Lab/VQA, a013f00).

LAVIS 1.0.2 has the one before: it normalises predictions always, and human answers for punctuation alone, so that
"two" is no match for ten times "two". Tables and text rules are LAVIS's own, which equal the official ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lavis.common.vqa_tools.vqa_eval import VQAEval

from lavis_tldr.evaluation.predictions import check_ids

_RULES = VQAEval()
_ENOUGH = 3  # matches among the other people's answers


@dataclass(frozen=True)
class HumanAnswers:
    """What people answered to a question.

    Attributes:
        question_id: The question.
        answers: All their answers as they gave them; ten in VQA v2.
        answer_type: ``yes/no``, ``number`` or ``other``; "" where it is not told.
    """

    question_id: int
    answers: Sequence[str]
    answer_type: str = ""


@lru_cache(maxsize=2**17)
def normalise(answer: str) -> str:
    """An answer without punctuation and articles, lower case, with digits for number words and apostrophes restored."""
    return _RULES.processDigitArticle(_RULES.processPunctuation(_stripped(answer)))


def answer_score(prediction: str, answers: Sequence[str]) -> float:
    """Accuracy of one answer: of each person in turn left out, a third per match among the others, at most 1; the mean.

    Args:
        prediction: The answer.
        answers: Those that people gave.

    Returns:
        In [0, 1]; of ten answers 0, 1, 2, 3 and 4 matches give 0, 0.3, 0.6, 0.9 and 1.
    """
    prediction, answers = _stripped(prediction), [_stripped(answer) for answer in answers]
    if len(set(answers)) > 1:  # where all agree to the letter, the official evaluator normalises nothing
        prediction, answers = normalise(prediction), [normalise(answer) for answer in answers]
    matches = answers.count(prediction)
    if not matches:
        return 0.0
    by_matching = matches * min(1.0, (matches - 1) / _ENOUGH)
    by_others = (len(answers) - matches) * min(1.0, matches / _ENOUGH)
    return (by_matching + by_others) / len(answers)


def vqa_accuracy(predictions: Iterable[Mapping], questions: Iterable[HumanAnswers]) -> dict[str, float]:
    """Accuracy over all questions and by type of answer.

    Args:
        predictions: ``{"question_id": int, "answer": str}`` for each question, in any order.
        questions: The set.

    Returns:
        ``acc``, and ``acc_TYPE`` for each type there is, in percent, not rounded (the official evaluator shows two
        decimals).

    Raises:
        ValueError: If a question id is missing, doubled or unknown, an answer is no text, or a question has no answers.
    """
    predictions, questions = list(predictions), list(questions)
    check_ids((p["question_id"] for p in predictions), (q.question_id for q in questions), "question_id")
    given = {p["question_id"]: p["answer"] for p in predictions}
    scores: dict[str, list[float]] = defaultdict(list)
    for question in questions:
        answer = given[question.question_id]
        if not isinstance(answer, str):
            raise ValueError(f"the answer to question {question.question_id} is {answer!r}; expected a text.")
        if not question.answers:
            raise ValueError(f"question {question.question_id} has no human answers to compare with.")
        score = answer_score(answer, question.answers)
        scores["acc"].append(score)
        if question.answer_type:
            scores[f"acc_{question.answer_type}"].append(score)
    return {name: 100 * sum(found) / len(found) for name, found in scores.items()}


def _stripped(answer: str) -> str:
    return answer.replace("\n", " ").replace("\t", " ").strip()
