"""``tldr_vqa``: questions about images, from LAVIS's lists and any folder of images.

datasets:
  tldr_vqa:
    val: {annotations: vqa_val.json, image_root: images}
    answer_list: answer_list.json
"""

from lavis.common.registry import registry
from lavis.datasets.datasets.coco_vqa_datasets import COCOVQADataset, COCOVQAEvalDataset

from lavis_tldr.datasets.annotation_lists import (
    NUMBER,
    TEXT,
    TEXTS,
    AnnotationListBuilder,
    check_unique,
    default_config,
    image_errors_named,
    in_all_or_none,
    read_list,
    set_rows,
)
from lavis_tldr.evaluation.vqa_accuracy import HumanAnswers
from lavis_tldr.models.vilt.config import read_answers

NAME = "tldr_vqa"
_ASKED = {"image": TEXT, "question": TEXT}


class VqaTraining(COCOVQADataset):
    """Questions with their answers, each weighed by the share of people who gave it; collated as LAVIS's VQA models
    and `ViltVqa` take them.

    Args:
        vis_processor, text_processor: Of images and questions.
        image_root: Folder below which images lie.
        rows: ``{"image", "question", "answer": [...]}``.
    """

    def __init__(self, vis_processor, text_processor, image_root: str, rows: list[dict]):
        set_rows(self, vis_processor, text_processor, image_root, rows)

    def __getitem__(self, index: int) -> dict:
        with image_errors_named(NAME, self.annotation[index]["image"]):
            return super().__getitem__(index)


class VqaEvaluation(COCOVQAEvalDataset):
    """Questions to answer: ``image``, ``text_input``, ``question_id`` and ``instance_id``.

    Args:
        vis_processor, text_processor, image_root: See `VqaTraining`.
        rows: ``{"image", "question", "question_id"}``, and ``answer`` and ``answer_type`` where they are known.
        answer_list: What to choose from; None for models that bring their own, or write freely.

    Attributes:
        human_answers: Of each question; None of a set whose answers are kept by others (test2015).
    """

    def __init__(self, vis_processor, text_processor, image_root: str, rows: list[dict], answer_list=None):
        set_rows(self, vis_processor, text_processor, image_root, rows)
        self.answer_list = answer_list
        self.human_answers: list[HumanAnswers] | None = None
        if "answer" in rows[0]:
            self.human_answers = [
                HumanAnswers(row["question_id"], row["answer"], row.get("answer_type", "")) for row in rows
            ]

    def __getitem__(self, index: int) -> dict:
        with image_errors_named(NAME, self.annotation[index]["image"]):
            return super().__getitem__(index)


@registry.register_builder(NAME)
class VqaBuilder(AnnotationListBuilder):
    """Builds `VqaTraining` of ``train``, and `VqaEvaluation` of ``val`` and ``test``."""

    NAME = NAME
    DATASET_CONFIG_DICT = {"default": default_config(NAME)}

    def make(self, kind, paths, where, image_root, processors):
        if kind == "train":
            rows = [row for path in paths for row in read_list(path, where, {**_ASKED, "answer": TEXTS})]
            return VqaTraining(*processors, image_root, rows)
        rows = [row for path in paths for row in read_list(path, where, {**_ASKED, "question_id": NUMBER})]
        in_all_or_none(rows, "answer", TEXTS, where)
        check_unique([row["question_id"] for row in rows], f"{where}: question_id")
        given = self.config.get("answer_list")
        answers = read_answers(given, f"datasets.{NAME}.answer_list") if given else None
        return VqaEvaluation(*processors, image_root, rows, answers)
