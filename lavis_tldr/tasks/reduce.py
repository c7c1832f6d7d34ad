"""The LAVIS tasks that reduce a set: all stages, or one of them."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path

from lavis.common.dist_utils import is_main_process
from lavis.common.registry import registry
from lavis.tasks.base_task import BaseTask

from lavis_tldr.models.collectives import barrier, from_rank_zero
from lavis_tldr.models.weights_digest import weights_digest
from lavis_tldr.runs.lock import run_lock
from lavis_tldr.runs.reduced_sets import REPAIR_PLAN, SHARED_STAGES, check_layout
from lavis_tldr.stages import STAGES, build, made_from, repair
from lavis_tldr.stages.context import Context
from lavis_tldr.stages.reduce_config import ReduceConfig
from lavis_tldr.stages.set_notes import note_set
from lavis_tldr.stages.summary import closing_summary

logger = logging.getLogger(__name__)

_MAX_CODES = 2**16
# Settings of the captioner that its weights do not tell.
_DECIDING_KEYS = (
    "image_size",
    "patch_size",
    "vit_heads",
    "text_heads",
    "normalize_codes",
    "context_weight",
    "max_text_length",
)

RUN_KEYS = tuple(field.name for field in fields(ReduceConfig))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other jobs out of a folder; all processes of this one come here together, and a refusal reaches them all."""
    with ExitStack() as held:
        refusal = None
        if is_main_process():
            try:
                held.enter_context(run_lock(folder))
            except ValueError as error:
                refusal = str(error)
        if refusal := from_rank_zero(lambda: refusal):
            raise ValueError(refusal)
        yield
        barrier()  # the first process holds the lock until all are done


@registry.register_task("tldr_reduce")
class ReduceTask(BaseTask):
    """Runs the stages of a reduction in order; use it with ``runner: runner_stages``."""

    stages: tuple[str, ...] = tuple(STAGES)

    @classmethod
    def setup_task(cls, cfg) -> "ReduceTask":
        """Make the task, and check what can be checked before the source is read.

        Raises:
            ValueError: For what is wrong with the config; says what to do.
        """
        task = cls()
        if cfg.run_cfg.get("runner") != "runner_stages":
            raise ValueError(
                f"run.task {cfg.run_cfg.task} needs run.runner: runner_stages; found {cfg.run_cfg.get('runner')}."
            )
        config = ReduceConfig.from_run(cfg.run_cfg)
        config.check_weights(task.chosen(config))
        weights = cfg.model_cfg.get("finetuned") if cfg.model_cfg.get("load_finetuned") else None
        if not weights:
            raise ValueError(
                "a reduction needs a trained captioner: set model.load_finetuned: True and model.finetuned to the "
                "checkpoint that training wrote (.../checkpoint_best.pth)."
            )
        if not Path(weights).is_file():
            raise ValueError(f"model.finetuned: there is no file {weights}; train it first, or give its path.")
        task._cfg = cfg
        return task

    def build_model(self, cfg):
        model = super().build_model(cfg)
        if model.quantizer is None:
            raise ValueError("a reduction clusters codes, so model.quantize must be True.")
        if model.quantizer.num_codes > _MAX_CODES:
            raise ValueError(
                f"model.num_codes is {model.quantizer.num_codes}; codes are stored in 16 bits, at most {_MAX_CODES}."
            )
        return model

    def run(self, model, datasets: dict, run_cfg) -> dict:
        """Run the stages that are asked for and not done yet.

        Args:
            model: The trained captioner.
            datasets: Holds ``tldr_source`` and, where there are pairs known to be right, ``tldr_captions``.
            run_cfg: The ``run`` section.

        Returns:
            The closing summary's figures.

        Raises:
            ValueError: For what is wrong with config, source or run folder; says what to do.
        """
        config = ReduceConfig.from_run(run_cfg)
        if "tldr_source" not in datasets:
            raise ValueError(f"a reduction reads the dataset tldr_source; found {sorted(datasets)}.")
        context = self.context(model, datasets, run_cfg, config)
        names = self.chosen(config)
        # Opened now, so that a wrong folder is known before hours of encoding.
        if config.embed_captions.intersection(names):
            _ = context.sentence_encoder
        if config.use_blip.intersection(names):
            _ = context.blip
        with ExitStack() as held:
            if set(names) - set(SHARED_STAGES):
                held.enter_context(alone(context.set_root))
                note_set(context, self._cfg.config)
            if config.restart:
                with alone(context.root):
                    self.restart(context)
            return self.run_stages(context, names)

    def context(self, model, datasets: dict, run_cfg, config: ReduceConfig) -> Context:
        check_layout(run_cfg.output_dir)
        return Context(
            root=Path(run_cfg.output_dir),
            config=config,
            parts=datasets["tldr_source"]["train"],
            model=model,
            model_digest=weights_digest(model, {key: self._cfg.model_cfg.get(key) for key in _DECIDING_KEYS}),
            device=str(run_cfg.device),
            trusted=datasets.get("tldr_captions", {}).get("train"),
        )

    def run_stages(self, context: Context, names: list[str]) -> dict:
        """Run those of the stages that are not done; the closing summary's figures."""
        for name in names:
            if name == "repair" and not repair.load_plan(context):
                continue
            stage = STAGES[name].stage_of(context)
            stage.open()
            if not stage.is_done():
                logger.info("stage %s", name)
                context.ran.append(name)
                # Jobs of other recipes may run at the same time, once these are done.
                with alone(context.root) if name in SHARED_STAGES else nullcontext():
                    STAGES[name].run(context, stage)
        return closing_summary(context, names) if is_main_process() else {}

    def chosen(self, config: ReduceConfig) -> list[str]:
        """The stages to run, in order.

        Raises:
            ValueError: If the config names an unknown one.
        """
        for name in (*config.stages, *config.restart):
            if name not in STAGES:
                raise ValueError(f"there is no stage {name!r}; the stages are {', '.join(STAGES)}.")
        if config.stages:
            return [name for name in STAGES if name in config.stages]
        unused = set(SHARED_STAGES).difference(config.shared_stages)
        return [name for name in STAGES if name in self.stages and name not in unused]

    @staticmethod
    def restart(context: Context) -> None:
        """Forget stages; those after them are made from their files and so must go as well.

        Of a shared stage goes the variant that this recipe uses.
        """
        if is_main_process():
            # The last first: cut short, what is left is what it was made from, never a repair of another selection.
            for name in reversed(made_from(context.config.restart, context.config.scores_use_captions)):
                stage = context.closed_stage(name)
                stage.restart()
                if name == "repair":  # of another selection
                    (context.set_root / REPAIR_PLAN).unlink(missing_ok=True)
                if name == "build":
                    build.forget_images(stage)
        barrier()


@registry.register_task("tldr_encode")
class EncodeTask(ReduceTask):
    """Encodes a source to codes."""

    stages = ("encode",)


@registry.register_task("tldr_score")
class ScoreTask(ReduceTask):
    """Encodes a source and scores how well its captions fit their images."""

    stages = ("encode", "caption", "score")

    def chosen(self, config: ReduceConfig) -> list[str]:
        if config.stages:
            return super().chosen(config)
        return ["encode", *(["caption"] if config.scores_use_captions else []), "score"]


@registry.register_task("tldr_refine")
class RefineTask(ReduceTask):
    """Makes the captions of the kept samples; encode, cluster and select must be done."""

    stages = ("refine",)
