"""A LAVIS run that counts the pairs of an annotation file; importing this registers it."""

import json
from pathlib import Path

import yaml
from lavis.common.registry import registry
from lavis.tasks.base_task import BaseTask
from toy_lavis import write_toy_run

RUN_KEYS = ("annotations",)
KEY = "test_pairs"


@registry.register_task("count_pairs")
class CountPairs(BaseTask):
    def run(self, model, datasets, run_cfg):
        folder = Path(run_cfg.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        pairs = json.loads(Path(run_cfg.annotations).read_text()) if run_cfg.annotations else []
        with open(folder / "log.txt", "a") as file:
            file.write(json.dumps({KEY: len(pairs)}) + "\n")


def write_evaluation(folder: Path) -> Path:
    """The run's YAML."""
    config = yaml.safe_load(write_toy_run(folder).read_text())
    config["run"] = {
        "task": "count_pairs",
        "runner": "runner_stages",
        "device": "cpu",
        "output_dir": "o",
        "annotations": "",
    }
    path = folder / "evaluate.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
