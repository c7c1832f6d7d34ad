"""The LAVIS task of visual question answering, by the official evaluator's accuracy."""

import logging

from lavis.common.registry import registry
from lavis.tasks.vqa import VQATask

from lavis_tldr.datasets.tldr_vqa import VqaEvaluation
from lavis_tldr.evaluation.predictions import check_ids
from lavis_tldr.evaluation.vqa_accuracy import vqa_accuracy
from lavis_tldr.skills import ANSWER
from lavis_tldr.tasks.abilities import require_model
from lavis_tldr.tasks.evaluation_results import tell_figures, write_predictions
from lavis_tldr.tasks.gathering import gather_by_key
from lavis_tldr.tasks.own_sets import EvaluatesOwnSets
from lavis_tldr.tasks.run_defaults import FINETUNING, fill_run_defaults

logger = logging.getLogger(__name__)

NAME = "tldr_vqa"
_METHODS = {"blip_vqa": ("rank", "generate"), "vilt_vqa": ("rank",)}


@registry.register_task(NAME)
class VqaAccuracyTask(EvaluatesOwnSets, VQATask):
    """As LAVIS's ``vqa``, and as its settings under ``run`` say (``inference_method``, ``num_beams``, ...), but told by
    the accuracy of 2021, right on any number of ranks, and with no length of list that takes hours.

    A split with human answers is told by ``acc`` and ``acc_TYPE`` in percent. Of one without, ``result/SPLIT_vqa_result
    .json`` is the list that EvalAI takes, and there are no figures. What a run config leaves out under ``run`` is as
    the packaged ``finetune_run.yaml`` says.
    """

    RUN_DEFAULTS = FINETUNING
    BUILDER, EVALUATED = NAME, VqaEvaluation

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._brings_answers = False  # the model chooses among answers of its own

    @classmethod
    def setup_task(cls, cfg) -> "VqaAccuracyTask":
        """The task of a run.

        Raises:
            ValueError: If its model can't answer questions, or not by the method asked for.
        """
        arch = require_model(cfg, NAME, ANSWER)
        method = cfg.run_cfg.get("inference_method", "rank")
        if method not in _METHODS[arch]:
            told = " or ".join(_METHODS[arch])
            raise ValueError(f"run.inference_method is {method!r}; {arch} answers by {told}: set it so.")
        fill_run_defaults(cfg.run_cfg, cls.RUN_DEFAULTS)
        task = super().setup_task(cfg)
        task._brings_answers = arch == "vilt_vqa"
        return task

    def build_datasets(self, cfg) -> dict[str, dict]:
        datasets = super().build_datasets(cfg)
        evaluated = {*cfg.run_cfg.get("valid_splits", []), *cfg.run_cfg.get("test_splits", [])}
        if evaluated and self.inference_method == "rank" and not (self.answer_list or self._brings_answers):
            raise ValueError(
                "run.inference_method: rank chooses among answers, and there are none: give datasets.tldr_vqa."
                "answer_list (`lavis-tldr data convert vqa` makes answer_list.json), or set it to generate."
            )
        return datasets

    def after_evaluation(self, val_result: list[dict], split_name: str, **kwargs) -> dict[str, float] | None:
        """Write the answers, ``[{"question_id": int, "answer": str}]``; their accuracy in percent, if it can be told.

        Raises:
            ValueError: If a question of the set has no answer.
        """
        answers = gather_by_key(val_result, "question_id")
        path = write_predictions(f"{split_name}_vqa_result", answers)
        questions = self._dataset.human_answers
        if questions is None:
            wanted = (row["question_id"] for row in self._dataset.annotation)
            check_ids((row["question_id"] for row in answers), wanted, "question_id")
            logger.info("%s has no human answers: %s is the list that EvalAI takes.", split_name, path)
            return None
        figures = vqa_accuracy(answers, questions)
        figures["agg_metrics"] = figures["acc"]
        tell_figures(split_name, figures)
        return figures
