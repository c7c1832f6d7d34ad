"""The LAVIS tasks that reduce a set: all stages, or one of them."""

import hashlib
import logging
from dataclasses import fields
from pathlib import Path

import torch
from lavis.common.dist_utils import is_main_process
from lavis.common.registry import registry
from lavis.tasks.base_task import BaseTask

from lavis_tldr.tasks.captioner_start import barrier
from lavis_tldr.tasks.reduce_config import ReduceConfig
from lavis_tldr.tasks.stages import STAGES
from lavis_tldr.tasks.stages.context import Context
from lavis_tldr.tasks.summary import closing_summary

RUN_KEYS = tuple(field.name for field in fields(ReduceConfig))


@registry.register_task("tldr_reduce")
class ReduceTask(BaseTask):
    """Runs the stages of a reduction in order; use it with ``runner: runner_stages``."""

    stages: tuple[str, ...] = tuple(STAGES)

    @classmethod
    def setup_task(cls, cfg) -> "ReduceTask":
        return cls()

    def build_model(self, cfg):
        weights = cfg.model_cfg.get("finetuned") if cfg.model_cfg.get("load_finetuned") else None
        if not weights:
            raise ValueError(
                "a reduction needs a trained captioner: set model.load_finetuned: True and model.finetuned to the "
                "checkpoint that training wrote (.../checkpoint_best.pth)."
            )
        model = super().build_model(cfg)
        if model.quantizer is None:
            raise ValueError("a reduction clusters codes, so model.quantize must be True.")
        self._model_cfg = cfg.model_cfg
        return model

    def run(self, model, datasets: dict, run_cfg) -> dict:
        """Run the stages that are asked for and not done yet.

        Args:
            model: The trained captioner.
            datasets: Holds ``tldr_source``.
            run_cfg: The ``run`` section.

        Returns:
            The closing summary's figures.

        Raises:
            ValueError: For what is wrong with config, source or run folder; says what to do.
        """
        config = ReduceConfig.from_run(run_cfg)
        if "tldr_source" not in datasets:
            raise ValueError(f"a reduction reads the dataset tldr_source; found {sorted(datasets)}.")
        context = Context(
            root=Path(run_cfg.output_dir),
            config=config,
            parts=datasets["tldr_source"]["train"],
            model=model,
            model_digest=state_digest(model),
            device=str(run_cfg.device),
            model_cfg=self._model_cfg,
        )
        names = self._chosen(config)
        self._restart(context, config.restart)
        for name in names:
            if is_main_process():
                logging.info("stage %s", name)
            with context.timed(name):
                STAGES[name].run(context)
        return closing_summary(context, names) if is_main_process() else {}

    def _chosen(self, config: ReduceConfig) -> list[str]:
        for name in (*config.stages, *config.restart):
            if name not in STAGES:
                raise ValueError(f"there is no stage {name!r}; the stages are {', '.join(STAGES)}.")
        chosen = config.stages or tuple(n for n in self.stages if n != "score" or config.needs_scores)
        return [name for name in STAGES if name in chosen]

    @staticmethod
    def _restart(context: Context, restart: tuple[str, ...]) -> None:
        """Forget stages; those after them are made from their files and so must go as well."""
        if restart and is_main_process():
            first = min(list(STAGES).index(name) for name in restart)
            for name in list(STAGES)[first:]:
                # K-Means does not depend on scores, nor scores on clusters.
                if name == "score" and restart == ("cluster",):
                    continue
                context.stage(name, {}, {}).restart()
        barrier()


@registry.register_task("tldr_encode")
class EncodeTask(ReduceTask):
    """Encodes a source to codes."""

    stages = ("encode",)


@registry.register_task("tldr_score")
class ScoreTask(ReduceTask):
    """Encodes a source and scores how well its captions fit their images."""

    stages = ("encode", "score")

    def _chosen(self, config: ReduceConfig) -> list[str]:
        return super()._chosen(config) if config.stages else list(self.stages)


@registry.register_task("tldr_refine")
class RefineTask(ReduceTask):
    """Makes the captions of the kept samples; encode, cluster and select must be done."""

    stages = ("refine",)


def state_digest(model: torch.nn.Module) -> str:
    """Digest of a model's weights, whatever file they came from, 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        if isinstance(value, torch.Tensor):
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()
