"""The LAVIS task of NLVR2: does a sentence hold of two images?"""

import logging

from lavis.common.registry import registry
from lavis.tasks.multimodal_classification import MultimodalClassificationTask

from lavis_tldr.datasets.tldr_nlvr import NlvrEvaluation
from lavis_tldr.evaluation.nlvr_metrics import nlvr_metrics
from lavis_tldr.evaluation.predictions import check_ids
from lavis_tldr.skills import COMPARE
from lavis_tldr.tasks.abilities import require_model
from lavis_tldr.tasks.evaluation_results import tell_figures, write_predictions
from lavis_tldr.tasks.gathering import gather_by_key
from lavis_tldr.tasks.own_sets import EvaluatesOwnSets
from lavis_tldr.tasks.run_defaults import FINETUNING, fill_run_defaults

logger = logging.getLogger(__name__)

NAME = "tldr_nlvr"


@registry.register_task(NAME)
class NlvrTask(EvaluatesOwnSets, MultimodalClassificationTask):
    """As LAVIS's ``multimodal_classification`` on ``nlvr``; tells consistency beside accuracy, both in percent, and the
    same on any number of ranks. What a run config leaves out under ``run`` is as the packaged ``finetune_run.yaml``.
    """

    RUN_DEFAULTS = FINETUNING
    BUILDER, EVALUATED = NAME, NlvrEvaluation

    @classmethod
    def setup_task(cls, cfg) -> "NlvrTask":
        """The task of a run.

        Raises:
            ValueError: If its model can't read two images with a sentence.
        """
        require_model(cfg, NAME, COMPARE)
        fill_run_defaults(cfg.run_cfg, cls.RUN_DEFAULTS)
        return cls()

    def after_evaluation(self, val_result: list[dict], split_name: str, **kwargs) -> dict[str, float]:
        """Write what was told of each example; ``acc`` and, where examples have identifiers, ``consistency``.

        Raises:
            ValueError: If an example of the set was left out.
        """
        told = gather_by_key(val_result, self.inst_id_key)
        write_predictions(f"{split_name}_nlvr_result", told)
        examples = [(row[self.inst_id_key], row["label"]) for row in self._dataset.annotation]
        check_ids((row[self.inst_id_key] for row in told), (name for name, _ in examples), "identifier")
        if "identifier" in self._dataset.annotation[0]:
            figures = nlvr_metrics([(row[self.inst_id_key], bool(row["prediction"])) for row in told], examples)
        else:
            figures = {"acc": 100 * sum(row["prediction"] == row["target"] for row in told) / len(told)}
            logger.warning(
                "%s: its list has no identifiers, so consistency can't be told; `lavis-tldr data convert nlvr2` keeps "
                "them.",
                split_name,
            )
        figures["agg_metrics"] = figures["acc"]
        tell_figures(split_name, figures)
        return figures
