"""The LAVIS tasks that reduce a set: all stages, or one of them; and the one that repairs what was built."""

from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path

from lavis.common.registry import registry
from lavis.tasks.base_task import BaseTask
from omegaconf import OmegaConf

from lavis_tldr.datasets.source_parts import SourceParts
from lavis_tldr.models.weights_digest import weights_digest
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import SHARED_STAGES, STAGES, used_stages
from lavis_tldr.sources import Part
from lavis_tldr.stages import score
from lavis_tldr.stages.context import Context
from lavis_tldr.stages.explanation import explain
from lavis_tldr.stages.lost_images import AGAIN, AS_MADE, check_captions_made, repair_set
from lavis_tldr.stages.needs import needs_of
from lavis_tldr.stages.reduce_config import ReduceConfig
from lavis_tldr.stages.running import alone, restart_stages, run_stages
from lavis_tldr.stages.set_notes import note_set
from lavis_tldr.user_errors import closest

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

_SECTIONS = ("run", "model", "datasets")

RUN_KEYS = tuple(field.name for field in fields(ReduceConfig))


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
        if "score" in names:
            score.check_inputs(context)
        with ExitStack() as held:
            if set(names) - set(SHARED_STAGES):
                held.enter_context(alone(context.set_root))
                note_set(context, self._cfg.config)
            if config.restart:
                with alone(context.root):
                    restart_stages(context)
            return run_stages(context, names)

    def context(self, model, datasets: dict, run_cfg, config: ReduceConfig) -> Context:
        return Context(
            root=Path(run_cfg.output_dir),
            config=config,
            parts=datasets["tldr_source"]["train"],
            model=model,
            model_digest=weights_digest(model, {key: self._cfg.model_cfg.get(key) for key in _DECIDING_KEYS}),
            device=str(run_cfg.device),
            trusted=datasets.get("tldr_captions", {}).get("train"),
        )

    def chosen(self, config: ReduceConfig) -> list[str]:
        """The stages to run, in order.

        Raises:
            ValueError: If the config names an unknown one.
        """
        for name in (*config.stages, *config.restart):
            if name not in STAGES:
                raise ValueError(f"there is no stage {name!r}{closest(name, STAGES)}.")
        if config.stages:
            return [name for name in STAGES if name in config.stages]
        return [name for name in used_stages(config) if name in self.stages]


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


@dataclass
class _RecordedSource:
    """The source's parts as encode found them; it is not read again, and may have lost files since."""

    parts: list[Part]


@registry.register_task("tldr_repair")
class RepairTask(ReduceTask):
    """Makes a reduced set whole again: repairs what ``tldr_reduce`` built, from the same config.

    ``repair_decode`` decodes every kept image; else files and tar headers are looked at. ``repair_dry_run`` changes
    nothing.
    """

    stages = AGAIN
    RUN_KEYS = ("repair_decode", "repair_dry_run")

    def build_datasets(self, cfg) -> dict:
        encoded = Stage.as_made(cfg.run_cfg.output_dir, "encode")
        names = sorted(Path(name).stem for name in encoded.manifest["outputs"])
        parts = [Part(index, name, "") for index, name in enumerate(names)]
        return {"tldr_source": {"train": SourceParts(_RecordedSource(parts), None, {})}}

    def run(self, model, datasets: dict, run_cfg) -> dict:
        """Replace what is lost.

        Returns:
            How many kept samples were ``checked``, had lost their exported image alone (``copied_again``), were
            ``lost``, ``replaced`` and left ``without_stand_in``, and how many ``understudies_lost`` were passed over.

        Raises:
            ValueError: If the reduction is not finished, or captions would be made otherwise than they were.
        """
        context = self.context(model, datasets, run_cfg, ReduceConfig.from_run(run_cfg))
        context.as_made = AS_MADE
        check_captions_made(context)
        with alone(context.set_root):
            return repair_set(
                context, decode=bool(run_cfg.get("repair_decode")), dry_run=bool(run_cfg.get("repair_dry_run"))
            )


def explain_reduction(user_config) -> dict:
    """What a reduction will do: `stages.explanation.explain`, and its ``needs`` (`stages.needs.needs_of`).

    Args:
        user_config: The whole config, before any packaged default.

    Raises:
        ValueError: If its task is no reduction, or a setting is out of range.
    """
    task = registry.get_task_class(user_config.run.task)
    if not issubclass(task, ReduceTask):
        raise ValueError(
            f"run.task is {user_config.run.task}; what is explained is a reduction: tldr_reduce, tldr_encode, "
            "tldr_score or tldr_refine."
        )
    run, model, datasets = (OmegaConf.to_container(user_config[name], resolve=True) for name in _SECTIONS)
    config = ReduceConfig.from_run(run, needs_weights=False)
    asked = task().chosen(config)
    facts = explain(run, asked, task().chosen(replace(config, stages=())))
    return {**facts, "needs": needs_of(config, model, datasets, facts["used"])}
