"""What a run config leaves out under ``run``: a task's packaged file of defaults says it.

A task class names its file as ``RUN_DEFAULTS``, and fills it in in its ``setup_task``. Runner and device are settled
before a task is made: ``lavis_tldr.train`` looks them up by `start_defaults`.
"""

from pathlib import Path

from lavis.common.registry import registry
from omegaconf import DictConfig, OmegaConf

from lavis_tldr.environment.processor import emulates_bfloat16

_CONFIGS = Path(__file__).parent.parent / "configs"
PRETRAINING, FINETUNING, EVALUATION = (_CONFIGS / f"{name}_run.yaml" for name in ("pretrain", "finetune", "evaluate"))

_SPLITS = ("train_splits", "valid_splits", "test_splits")
_OF_RUNNER_PRETRAIN = ("save_every_steps", "resume_ckpt_path")  # "auto": others would look for a file of that name


def start_defaults(run) -> DictConfig:
    """Defaults of a run's task, as its file has them; of another task none."""
    path = getattr(registry.get_task_class(run.get("task")), "RUN_DEFAULTS", None)
    return OmegaConf.create() if path is None else OmegaConf.load(path).run


def fill_run_defaults(run, path: Path) -> None:
    """Fill in what a packaged file of defaults says.

    Args:
        run: The config's ``run``; changed in place.
        path: The file, with a section ``run``.
    """
    defaults = OmegaConf.load(path).run
    for key in _not_filled(run, defaults):
        defaults.pop(key, None)
    if "bf16" in defaults and str(run.get("device")) == "cpu" and emulates_bfloat16():
        defaults.bf16 = False
    for key, value in defaults.items():
        run.setdefault(key, value)


def _not_filled(run, defaults: DictConfig) -> list[str]:
    left = []
    if "batch_size_train" in run:  # says how large a batch is by itself
        left.append("global_batch_size")
    if run.get("evaluate", False) and any(key in run for key in _SPLITS):  # says on what by itself
        left += _SPLITS
    if "runner" in defaults and run.get("runner", defaults.runner) != "runner_pretrain":
        left += _OF_RUNNER_PRETRAIN
    return left
