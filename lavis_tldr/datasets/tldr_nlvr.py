"""``tldr_nlvr``: sentences about two images (NLVR2), from LAVIS's lists and any folder of images.

datasets:
  tldr_nlvr:
    train: {annotations: nlvr_train.json, image_root: nlvr2}
    test: {annotations: nlvr_test.json, image_root: nlvr2}
"""

import random
import re

from lavis.common.registry import registry
from lavis.datasets.datasets.nlvr_datasets import NLVREvalDataset

from lavis_tldr.datasets.annotation_lists import (
    TEXT,
    AnnotationListBuilder,
    Field,
    check_unique,
    default_config,
    image_errors_named,
    in_all_or_none,
    read_list,
    set_rows,
)

NAME = "tldr_nlvr"
_PAIR: Field = (
    "a list of two image paths",
    lambda value: isinstance(value, list) and len(value) == 2 and all(isinstance(path, str) for path in value),
)
_LABEL: Field = ('the text "True" or "False"', lambda value: value in ("True", "False"))
_FIELDS = {"images": _PAIR, "sentence": TEXT, "label": _LABEL}
_OTHER_SIDE = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
_SIDE = re.compile(rf"\b({'|'.join(_OTHER_SIDE)})\b")


class NlvrEvaluation(NLVREvalDataset):
    """Sentences with two images each: ``image0``, ``image1``, ``text_input``, ``label`` (1: true), ``instance_id``.

    Args:
        vis_processor, text_processor: Of images and sentences.
        image_root: Folder below which images lie.
        rows: ``{"images": [left, right], "sentence", "label": "True" or "False"}``, and ``identifier`` in all or none:
            it becomes the ``instance_id``.
    """

    def __init__(self, vis_processor, text_processor, image_root: str, rows: list[dict]):
        set_rows(self, vis_processor, text_processor, image_root, rows)
        self.class_labels = self._build_class_labels()

    def _add_instance_ids(self, key: str = "instance_id") -> None:
        super()._add_instance_ids(key)
        for row in self.annotation:
            row[key] = row.get("identifier", row[key])

    def __getitem__(self, index: int) -> dict:
        with image_errors_named(NAME, " or ".join(self.annotation[index]["images"])):
            return super().__getitem__(index)


class NlvrTraining(NlvrEvaluation):
    """As `NlvrEvaluation`; half the time the images change places, and "left" and "right" in the sentence with them.

    Whole words alone, as BLIP's own code has it: LAVIS makes "rightover" of "leftover". Never in evaluation, unlike
    BLIP's own code.
    """

    @staticmethod
    def _flip(samples: dict) -> dict:
        if random.random() < 0.5:
            return samples
        sentence = _SIDE.sub(lambda side: _OTHER_SIDE[side.group()], samples["text_input"])
        return {**samples, "image0": samples["image1"], "image1": samples["image0"], "text_input": sentence}


@registry.register_builder(NAME)
class NlvrBuilder(AnnotationListBuilder):
    """Builds `NlvrTraining` of ``train``, and `NlvrEvaluation` of ``val`` and ``test``."""

    NAME = NAME
    DATASET_CONFIG_DICT = {"default": default_config(NAME)}

    def make(self, kind, paths, where, image_root, processors):
        rows = [row for path in paths for row in read_list(path, where, _FIELDS)]
        if in_all_or_none(rows, "identifier", TEXT, where):
            check_unique([row["identifier"] for row in rows], f"{where}: identifier")
        dataset_class = NlvrTraining if kind == "train" else NlvrEvaluation
        return dataset_class(*processors, image_root, rows)
