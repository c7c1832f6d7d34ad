"""VQA accuracy against the worked examples of the official evaluator, and against LAVIS's, which is older."""

import random

import pytest
from lavis.common.vqa_tools.vqa import VQA
from lavis.common.vqa_tools.vqa_eval import VQAEval

from lavis_tldr.evaluation.vqa_accuracy import HumanAnswers, answer_score, normalise, vqa_accuracy

# Prediction, human answers, and its score by the official evaluator and by LAVIS's.
WORKED = {
    1: ("two", ["two", "two", "2", "2", "Two.", "3", "3", "three", "0", "none"], 1.0, 0.6),
    3: ("dog", ["a dog"] * 8 + ["dog"] * 2, 1.0, 0.6),
    4: ("T-shirt", ["t-shirt"] * 3 + ["shirt"] * 7, 0.9, 0.9),
    5: ("red", ["red"] + ["blue"] * 9, 0.3, 0.3),
}
QUESTIONS = [HumanAnswers(number, answers, "other") for number, (_, answers, _, _) in WORKED.items()]
PREDICTIONS = [{"question_id": number, "answer": answer} for number, (answer, *_) in WORKED.items()]


def official(questions, data: str) -> dict:
    """In the layout of the official files, as LAVIS's reader takes them."""
    head = {"info": {}, "license": {}, "task_type": "Open-Ended", "data_type": "mscoco", "data_subtype": "val2014"}
    ids = [{"image_id": 1, "question": "?", "question_id": question.question_id} for question in questions]
    annotations = [
        {
            **{"question_id": question.question_id, "image_id": 1, "question_type": "what"},
            "answer_type": question.answer_type,
            "answers": [{"answer": text, "answer_id": n} for n, text in enumerate(question.answers, 1)],
        }
        for question in questions
    ]
    return {**head, **({"questions": ids} if data == "questions" else {"annotations": annotations})}


def by_lavis(predictions, questions) -> dict:
    truth, answered = VQA(), VQA()
    truth.dataset, truth.questions = official(questions, "annotations"), official(questions, "questions")
    truth.createIndex()
    answered.qa = {row["question_id"]: dict(row) for row in predictions}
    evaluator = VQAEval(truth, answered)
    evaluator.evaluate()
    return evaluator.accuracy


@pytest.mark.parametrize(("prediction", "answers", "score", "_"), WORKED.values())
def test_worked_examples(prediction, answers, score, _):
    assert answer_score(prediction, answers) == pytest.approx(score)


def test_nothing_is_normalised_where_all_agree():
    assert answer_score("2", ["two"] * 10) == 0
    assert answer_score("two", ["two"] * 10) == 1
    assert answer_score("two\t", [" two\n"] * 10) == 1  # but for white space


def test_80_by_the_official_evaluator_and_60_by_lavis():
    assert vqa_accuracy(PREDICTIONS, QUESTIONS) == pytest.approx({"acc": 80.0, "acc_other": 80.0})
    assert by_lavis(PREDICTIONS, QUESTIONS)["overall"] == 60.0
    agreed = [HumanAnswers(2, ["two"] * 10, "number")]
    answered = [{"question_id": 2, "answer": "two"}]
    assert vqa_accuracy(answered, agreed)["acc"] == 100
    assert by_lavis(answered, agreed)["overall"] == 0.0


def test_equals_lavis_where_answers_need_no_normalising():
    """Cleaned answers, as most of VQA v2's are: both evaluators agree, overall and by type."""
    draw = random.Random(0)
    words, types = ["red", "dog", "left", "yes", "no", "12"], ["yes/no", "number", "other"]
    questions = [HumanAnswers(n, draw.choices(words, k=10), draw.choice(types)) for n in range(60)]
    predictions = [{"question_id": n, "answer": draw.choice(words)} for n in range(60)]
    found, stock = vqa_accuracy(predictions, questions), by_lavis(predictions, questions)
    assert round(found.pop("acc"), 2) == stock["overall"]
    assert {name.removeprefix("acc_"): round(value, 2) for name, value in found.items()} == stock["perAnswerType"]


@pytest.mark.parametrize("matches", range(11))
def test_score_by_leaving_each_person_out(matches):
    answers = ["cat"] * matches + [f"other {n}" for n in range(10 - matches)]
    left_out = [min(1, (answers[:n] + answers[n + 1 :]).count("cat") / 3) for n in range(10)]
    assert answer_score("cat", answers) == pytest.approx(sum(left_out) / 10)


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("Two.", "2"),
        ("a t-shirt", "t shirt"),
        ("1,000", "1000"),
        ("10:30", "10:30"),
        ("$5.00", "$5.00"),
        ("u.s.a.", "usa"),
        ("yes, no", "yes no"),
        ("red / white", "red white"),
        ("none", "0"),
        ("it's 3,5 or 7-8", "it's 35 or 78"),
        ("The Dog's", "dog's"),
        ("dont", "don't"),
    ],
)
def test_normalised_answers(answer, normal):
    assert normalise(answer) == normal


def drawn_set(count: int):
    """Ten people each, who agree: so a right answer scores 1 and any other 0. Half of each answer."""
    return [HumanAnswers(n, [("yes", "no")[n % 2]] * 10, "yes/no") for n in range(count)]


def test_rigged_constant_and_random_predictions():
    questions = drawn_set(400)
    rigged = [{"question_id": q.question_id, "answer": q.answers[0]} for q in questions]
    assert vqa_accuracy(rigged, questions) == {"acc": 100, "acc_yes/no": 100}
    assert vqa_accuracy([{**row, "answer": "yes"} for row in rigged], questions)["acc"] == 50
    draw = random.Random(1)
    found = vqa_accuracy([{**row, "answer": draw.choice(["yes", "no"])} for row in rigged], questions)["acc"]
    assert abs(found - 50) < 3 * 100 * (0.25 / 400) ** 0.5


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (PREDICTIONS[:-2], r"no prediction for question_id \(2: 4, 5\)"),
        ([*PREDICTIONS, {"question_id": 3, "answer": "cat"}], r"predictions hold a doubled question_id \(1: 3\)"),
        ([*PREDICTIONS, {"question_id": 9, "answer": "cat"}], r"unknown question_id \(1: 9\)"),
        ([{**row, "answer": float("nan")} for row in PREDICTIONS], "answer to question 1 is nan; expected a text"),
    ],
)
def test_faulty_predictions(predictions, message):
    with pytest.raises(ValueError, match=message):
        vqa_accuracy(predictions, QUESTIONS)


def test_faulty_sets():
    with pytest.raises(ValueError, match=r"the set holds a doubled question_id \(1: 5\)"):
        vqa_accuracy(PREDICTIONS, [*QUESTIONS, QUESTIONS[-1]])
    with pytest.raises(ValueError, match="the set is empty"):
        vqa_accuracy([], [])
    with pytest.raises(ValueError, match="question 7 has no human answers"):
        vqa_accuracy([{"question_id": 7, "answer": "red"}], [HumanAnswers(7, [])])
