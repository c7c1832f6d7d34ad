"""``runner_stages``: runs a task whose work is not training, such as ``tldr_reduce``."""

from pathlib import Path

from lavis.common.registry import registry


@registry.register_runner("runner_stages")
class RunnerStages:
    """Calls ``task.run(model, datasets, run_cfg)`` once.

    Unlike LAVIS's runners it makes no folder of its own below ``run.output_dir``: the task goes on where an earlier
    run of the same config stopped.
    """

    def __init__(self, cfg, task, model, datasets, job_id):
        self.config, self.task, self.model, self.datasets = cfg, task, model, datasets
        self.output_dir = Path(cfg.run_cfg.output_dir)
        if not hasattr(task, "run"):
            raise ValueError(
                f"run.runner runner_stages is for tasks such as tldr_reduce; {cfg.run_cfg.task} trains: leave "
                "run.runner out, or set runner_tldr or runner_cpu."
            )

    def train(self) -> None:
        self.result = self.task.run(self.model, self.datasets, self.config.run_cfg)
