"""LAVIS runs around the reductions: their configs, and each run once, however often the ablation is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lavis_tldr.ablation.settings import Metric, Step
from lavis_tldr.files import write_whole
from lavis_tldr.runs.manifest import digest_of, normalise
from lavis_tldr.train import load_user_config, run_config


def step_config(step: Step, places: Mapping[str, Any]) -> DictConfig:
    """The config of a run, its options set; ``places`` fills in {build} and the like."""
    config = load_user_config(fill_in(step.cfg_path, places))
    override(config, step.options, places)
    return config


def override(config: DictConfig, overrides: Mapping[str, Any], places: Mapping[str, Any]) -> None:
    """Set keys, dotted or nested, in place."""
    for key, value in overrides.items():
        OmegaConf.update(config, str(key), fill_in(value, places), merge=True)


def fill_in(value: Any, places: Mapping[str, Any]) -> Any:
    """Put ``places`` for {build} and the like in all texts of a value; other braces stay, as of tar patterns."""
    if isinstance(value, Mapping):
        return {key: fill_in(inner, places) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill_in(inner, places) for inner in value]
    if isinstance(value, str):
        for name, filling in places.items():
            value = value.replace("{" + name + "}", str(filling))
    return value


class StepsDone:
    """Remembers which runs are done, by what they were made from: ``<folder>/<digest>.json``."""

    def __init__(self, folder: Path):
        self.folder = folder

    def is_done(self, step: Step, places: Mapping[str, Any], inputs: Mapping[str, str] | None = None) -> bool:
        """Whether it was run to its end and its output is still there."""
        marker, _ = self._marker(step, places, inputs)
        return marker.is_file() and Path(json.loads(marker.read_text(encoding="utf-8"))["output"]).is_dir()

    def run(self, step: Step, places: Mapping[str, Any], inputs: Mapping[str, str] | None = None) -> None:
        """Run it, unless it is done.

        Args:
            step: Which.
            places: What stands for {build} and the like.
            inputs: Name and digest of what it reads, where its config does not tell one from another.
        """
        if self.is_done(step, places, inputs):
            return
        marker, made_from = self._marker(step, places, inputs)
        runner = run_config(step_config(step, places))
        self.folder.mkdir(parents=True, exist_ok=True)
        with write_whole(marker) as path:
            done = {"output": str(runner.output_dir), "made_from": made_from}
            path.write_text(json.dumps(done, indent=2) + "\n", encoding="utf-8")

    def forget(self, step: Step, places: Mapping[str, Any], inputs: Mapping[str, str] | None = None) -> None:
        """Have it run again, although it is done."""
        self._marker(step, places, inputs)[0].unlink(missing_ok=True)

    def _marker(self, step: Step, places: Mapping[str, Any], inputs: Mapping[str, str] | None) -> tuple[Path, dict]:
        config = OmegaConf.to_container(step_config(step, places), resolve=False)
        made_from = normalise({"config": config, "inputs": dict(inputs or {})})
        return self.folder / f"{digest_of(made_from)}.json", made_from


def read_metric(metric: Metric, path: Path) -> float:
    """The number in the last JSON line of a file that has it, as LAVIS writes log.txt and evaluate.txt.

    Raises:
        ValueError: If there is no such file, line or number.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}: metrics' file should name what the runs of evaluate write.")
    known: set[str] = set()
    for line in reversed(path.read_text(encoding="utf-8").splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue  # of the config, which LAVIS writes over many lines
        if isinstance(found, dict):
            if metric.key in found:
                return float(found[metric.key])
            known.update(found)
    raise ValueError(
        f"{path} has no JSON line with {metric.key!r}; its lines have {', '.join(sorted(known)) or 'none'}."
    )
