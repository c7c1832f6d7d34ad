"""VQA v2: LAVIS's lists from the official files, and the answers to choose from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from lavis_tldr.datasets.annotation_lists import NUMBER, TEXT, Field, check_row, check_unique
from lavis_tldr.datasets.downstream.json_files import read_json, write_json
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile
from lavis_tldr.evaluation.vqa_accuracy import normalise

LEAST_SEEN = 9  # of an answer to choose, over train and val: as ViLT and BLIP have it, 3,128 answers
ANSWER_LIST = "answer_list.json"
_ANSWERED = {"train": "train2014", "val": "val2014"}  # LAVIS's name of a split and the official one
_UNANSWERED = {"test": "test2015"}
_QUESTION: dict[str, Field] = {"question_id": NUMBER, "image_id": NUMBER, "question": TEXT}
_ANSWERS: Field = (
    'a list of {"answer": text}',
    lambda found: isinstance(found, list) and found and all(isinstance(_answer(one), str) for one in found),
)
_ANNOTATION = {"question_id": NUMBER, "answers": _ANSWERS, "answer_type": TEXT, "multiple_choice_answer": TEXT}


def convert(folder: Path) -> list[str]:
    """Make the lists of the splits whose official files are there, and, of train and val, the list of answers.

    Returns:
        A line on each file written, and on each that was not, for want of others.

    Raises:
        ValueError: If no split's files are there, one is of another layout, or questions and annotations don't match.
    """
    told: list[str] = []
    main_answers: dict[str, list[str]] = {}
    for split, official in {**_ANSWERED, **_UNANSWERED}.items():
        names = [questions_file(official), *([annotations_file(official)] if split in _ANSWERED else [])]
        if absent := [name for name in names if not (folder / name).is_file()]:
            told.append(f"vqa_{split}.json: not made, {' and '.join(absent)} not there.")
            continue
        questions = _read(folder / names[0], "questions", _QUESTION)
        if split in _ANSWERED:
            annotations = _read(folder / names[1], "annotations", _ANNOTATION)
            rows = answered_rows(questions, annotations, official, f"{names[0]} and {names[1]}")
            main_answers[split] = [annotation["multiple_choice_answer"] for annotation in annotations.values()]
        else:
            rows = [_row(question, official) for question in questions.values()]
        write_json(folder / f"vqa_{split}.json", rows)
        told.append(f"vqa_{split}.json: {len(rows):,} questions{'' if split in _ANSWERED else ', without answers'}.")
    if len(told) == sum("not made" in line for line in told):
        raise ValueError(f"{folder} has the files of no split of VQA v2: {' '.join(told)}")
    if main_answers.keys() < _ANSWERED.keys():
        return [*told, f"{ANSWER_LIST}: not made, it takes both train and val."]
    answers = frequent_answers(answer for split in main_answers.values() for answer in split)
    write_json(folder / ANSWER_LIST, answers)
    return [*told, f"{ANSWER_LIST}: {len(answers):,} answers, each the main one of {LEAST_SEEN} questions or more."]


def questions_file(official: str) -> str:
    """Name of the questions of an official split."""
    return f"v2_OpenEnded_mscoco_{official}_questions.json"


def annotations_file(official: str) -> str:
    """Name of the answers of an official split."""
    return f"v2_mscoco_{official}_annotations.json"


def answered_rows(questions: Mapping[int, dict], annotations: Mapping[int, dict], official: str, what: str) -> list:
    """LAVIS's rows of questions with their answers, in the order of the questions.

    Args:
        questions, annotations: Official ones, by question id.
        official: The split.
        what: Names both files in errors.

    Raises:
        ValueError: If one has a question that the other has not.
    """
    if odd := sorted(questions.keys() ^ annotations.keys()):
        raise ValueError(f"{what} have {len(odd)} questions in one alone (first: {odd[0]}); are they of one release?")
    return [
        {
            **_row(question, official),
            "answer": [_answer(one) for one in annotations[number]["answers"]],
            "answer_type": annotations[number]["answer_type"],
        }
        for number, question in questions.items()
    ]


def frequent_answers(main_answers: Iterable[str]) -> list[str]:
    """Answers to choose from: those that are, normalised, the main answer of `LEAST_SEEN` questions or more.

    ViLT has 3,129 of VQA v2, one of them empty ("a" without its article), which is left out here as in BLIP's list. The
    most frequent come first, ties by their text, so that the order does not hang on the files' order.
    """
    counts = Counter(normalise(answer) for answer in main_answers)
    frequent = [(-count, answer) for answer, count in counts.items() if count >= LEAST_SEEN and answer]
    return [answer for _, answer in sorted(frequent)]


def _row(question: dict, official: str) -> dict:
    image = f"{official}/COCO_{official}_{question['image_id']:012d}.jpg"
    return {
        "question_id": question["question_id"],
        "image": image,
        "question": question["question"],
        "dataset": "vqa",
    }


def _answer(one: object) -> object:
    return one.get("answer") if isinstance(one, dict) else None


def _read(path: Path, key: str, fields: dict[str, Field]) -> dict[int, dict]:
    """The rows under a key of an official file, by question id."""
    content = read_json(path)
    rows = content.get(key) if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise ValueError(f'{path} is no official file of VQA v2: expected {{"{key}": [...], "data_subtype": ...}}.')
    for number, row in enumerate(rows):
        check_row(row, fields, f"{key}[{number}] of {path}")
    check_unique([row["question_id"] for row in rows], f"{path}: question_id")
    return {row["question_id"]: row for row in rows}


_PAGE = "https://visualqa.org/download.html"

VQA = DownstreamSet(
    name="vqa",
    title="VQA v2",
    terms="Questions and answers CC BY 4.0; the photos are COCO's, Flickr users' under the terms they chose.",
    files=(
        *(
            NeededFile(questions_file(split), f"questions of {split}", _PAGE)
            for split in ("train2014", "val2014", "test2015")
        ),
        *(NeededFile(annotations_file(split), f"answers of {split}", _PAGE) for split in ("train2014", "val2014")),
        *(
            NeededFile(f"images/{split}/*.jpg", f"COCO's photos of {split} (a link to another set's will do)", _PAGE)
            for split in ("train2014", "val2014", "test2015")
        ),
        *(
            NeededFile(f"vqa_{split}.json", f"LAVIS's list of {split}", _PAGE, made=True)
            for split in (*_ANSWERED, *_UNANSWERED)
        ),
        NeededFile(ANSWER_LIST, "the answers to choose from", _PAGE, made=True),
    ),
    convert=convert,
)
