"""The LAVIS task of pretraining on image-text pairs, with the parts of the loss told apart."""

from collections.abc import Mapping
from typing import Any

from lavis.common.registry import registry
from lavis.tasks.retrieval import RetrievalTask


@registry.register_task("tldr_pretrain")
class PretrainingTask(RetrievalTask):
    """As LAVIS's ``image_text_pretrain``, and validates by retrieval.

    A split "val" or "test" of a retrieval set is evaluated zero-shot by the model's ``compute_sim_matrix``
    (``agg_metrics`` is the mean recall).
    """

    def train_figures(self, model, samples: Mapping[str, Any]) -> Mapping[str, Any]:
        """The model's output: ``loss``, and what else is 0-dim in it is logged (``loss_itc``, ``loss_itm``, ...)."""
        return model(samples)
