"""The LAVIS task of pretraining on image-text pairs, with the parts of the loss told apart."""

from collections.abc import Mapping
from typing import Any

from lavis.common.registry import registry
from lavis.tasks.retrieval import RetrievalTask

from lavis_tldr.tasks.feature_filling import FillsFeatureCaches
from lavis_tldr.tasks.run_defaults import PRETRAINING, fill_run_defaults


@registry.register_task("tldr_pretrain")
class PretrainingTask(FillsFeatureCaches, RetrievalTask):
    """As LAVIS's ``image_text_pretrain``; besides, logs all that the loss is made of, and validates by retrieval.

    A split "val" or "test" of a retrieval set is evaluated zero-shot by the model's ``compute_sim_matrix``
    (``agg_metrics`` is the mean recall). Sets with a ``feature_cache`` get their features before the first step.
    What a run config leaves out under ``run`` is as the packaged ``pretrain_run.yaml`` says.
    """

    RUN_DEFAULTS = PRETRAINING

    @classmethod
    def setup_task(cls, cfg) -> "PretrainingTask":
        fill_run_defaults(cfg.run_cfg, cls.RUN_DEFAULTS)
        return super().setup_task(cfg)

    def build_model(self, cfg):
        """The model; features that sets want cached are computed on the way, by its image tower.

        Raises:
            ValueError: If a set asks for a feature_cache and the model has no frozen ``visual_encoder``.
        """
        model = super().build_model(cfg)
        return self.fill_caches(model, cfg.run_cfg)

    def train_figures(self, model, samples: Mapping[str, Any]) -> Mapping[str, Any]:
        """The model's output: ``loss``, and what else is 0-dim in it is logged (``loss_itc``, ``loss_itm``, ...)."""
        return model(samples)
