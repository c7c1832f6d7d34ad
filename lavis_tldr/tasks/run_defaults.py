"""What a run config leaves out under ``run``."""

from pathlib import Path

from omegaconf import OmegaConf

from lavis_tldr.environment.processor import emulates_bfloat16

FINETUNING = Path(__file__).parent.parent / "configs" / "finetune_run.yaml"


def fill_run_defaults(run, path: Path) -> None:
    """Fill in what a packaged file of defaults says.

    Args:
        run: The config's ``run``; changed in place.
        path: The file, with a section ``run``.
    """
    defaults = OmegaConf.load(path).run
    if "batch_size_train" in run:  # says how large a batch is by itself
        defaults.pop("global_batch_size", None)
    if str(run.get("device")) == "cpu" and emulates_bfloat16():
        defaults.bf16 = False
    for key, value in defaults.items():
        run.setdefault(key, value)
