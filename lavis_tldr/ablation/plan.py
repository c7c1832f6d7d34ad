"""What an ablation has to do: a trial for each arm and seed, with the results that are there already, on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lavis_tldr.ablation.reductions import (
    captioner_digest,
    deciding,
    ledger_digest,
    reduction_config,
    set_folder,
    shared_stages,
)
from lavis_tldr.ablation.settings import Ablation, Arm, Step
from lavis_tldr.ablation.steps import StepsDone, step_config
from lavis_tldr.files import write_whole
from lavis_tldr.registration import register
from lavis_tldr.runs.manifest import changes, digest_of, normalise
from lavis_tldr.train import check_names
from lavis_tldr.user_errors import closest


@dataclass(frozen=True)
class Result:
    """What one arm gave with one seed.

    Attributes:
        made_from: Config and settings that decide it.
        metrics: By name; empty where it failed.
        pairs: How many the reduced set has.
        ledger: Digest of its ledger.
        seconds: That reducing and scoring took.
        error: Why it failed, or "".
    """

    made_from: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    pairs: int = 0
    ledger: str = ""
    seconds: float = 0.0
    error: str = ""

    def changes_to(self, made_from: dict) -> list[str]:
        """A line for each setting that has changed since; none where nothing has."""
        return changes(self.made_from, normalise(made_from))


class ResultFolder:
    """``<folder>/<arm>-seed<seed>.json``, each written whole."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, slug: str, seed: int) -> Path:
        """Where the result of an arm (`Arm.slug`) and seed lies."""
        return self.folder / f"{slug}-seed{seed}.json"

    def load(self, slug: str, seed: int) -> Result | None:
        """The result, or None where there is none yet.

        Raises:
            ValueError: If the file is damaged.
        """
        path = self.path(slug, seed)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            content.pop("digest")
            return Result(**content)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no result ({error}): delete it, and it is made anew.") from error

    def save(self, slug: str, seed: int, result: Result) -> None:
        """Write a result, in place of an earlier one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = normalise(vars(result))
        content["digest"] = digest_of(content["made_from"])
        with write_whole(self.path(slug, seed)) as path:
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def forget(self, slug: str, seed: int) -> None:
        """Delete a result, if there is one."""
        self.path(slug, seed).unlink(missing_ok=True)


@dataclass
class Trial:
    """One arm with one seed.

    Attributes:
        arm: The arm.
        seed: Of the reduction and of what scores it.
        config: Of the reduction.
        made_from: What decides the result, but for files that are yet to be made.
        result: As found on disk, or None.
    """

    arm: Arm
    seed: int
    config: DictConfig
    made_from: dict[str, Any]
    result: Result | None

    @property
    def folder(self) -> Path:
        """Of the reduced set."""
        return set_folder(self.config)

    @property
    def failure(self) -> str:
        """Why it failed when it was run last, or ""."""
        return self.result.error if self.result else ""

    @property
    def obstacle(self) -> str:
        """What is wrong with its settings, so that it would fail; or ""."""
        try:
            shared_stages(self.config)
        except ValueError as error:
            return str(error)
        return ""

    @property
    def changes(self) -> list[str]:
        """What has changed since its result was made."""
        if self.result is None or self.failure:
            return []
        lines = self.result.changes_to(self.made_from)
        ledger = ledger_digest(self.config)
        if ledger and ledger != self.result.ledger:
            lines.append(f"{self.folder} was reduced anew since")
        return lines

    @property
    def is_done(self) -> bool:
        """Whether there is a result that counts: no failure, and nothing has changed since."""
        return self.result is not None and not self.failure and not self.changes

    def places(self, ablation: Ablation) -> dict[str, Any]:
        """What stands for {arm} and the like in the runs around the reduction."""
        output = ablation.output_dir / "runs" / f"{self.arm.slug}-seed{self.seed}"
        return {"arm": self.arm.slug, "seed": self.seed, "build": self.folder / "build", "output": output}

    def prepare_places(self) -> dict[str, Any]:
        """As `places`, for the runs before, which all seeds share."""
        return {"arm": self.arm.slug}


class Plan:
    """An ablation's trials, those of an arm together.

    Args:
        ablation: The ablation.
        only: Names of the arms to run, of those it has; empty: all.

    Raises:
        ValueError: If a config names something unknown; for any arm, before one is run.
    """

    def __init__(self, ablation: Ablation, only: Sequence[str] = ()):
        self.ablation = ablation
        self.results = ResultFolder(ablation.output_dir / "results")
        self.steps = StepsDone(ablation.output_dir / "steps")
        self.chosen = [arm for arm in ablation.arms if not only or arm.name in only]
        self._captioners: dict[str, str] = {}
        register()
        self.trials = [self._trial(arm, seed) for arm in ablation.arms for seed in ablation.seeds]

    def of(self, arm: Arm) -> list[Trial]:
        """An arm's trials, one a seed."""
        return [trial for trial in self.trials if trial.arm is arm]

    def pending(self) -> list[Trial]:
        """Those of the chosen arms that are to be run."""
        return [trial for arm in self.chosen if not arm.obstacle for trial in self.of(arm) if not trial.is_done]

    def refuse_changed(self) -> None:
        """Raise ValueError where a chosen arm was made otherwise than it is asked for now."""
        changed = {trial.arm.name: trial.changes for arm in self.chosen for trial in self.of(arm) if trial.changes}
        if changed:
            told = "".join(f"  {name}: {'; '.join(lines)}\n" for name, lines in changed.items())
            raise ValueError(
                f"{self.ablation.name}: results in {self.results.folder} were made otherwise than asked for now:\n"
                f"{told}Use another output_dir, or `--restart ARM` to make an arm anew."
            )

    def forget(self, names: Sequence[str]) -> None:
        """Delete results of arms; the runs that scored them are run again as well."""
        for trial in self.trials:
            if trial.arm.name in names:
                self.results.forget(trial.arm.slug, trial.seed)
                for step in self.ablation.evaluate:
                    self.steps.forget(step, trial.places(self.ablation), self.inputs_of(trial))
                trial.result = None

    def inputs_of(self, trial: Trial) -> dict[str, str]:
        """What the runs that score a trial read, besides what their configs name."""
        return {"ledger": ledger_digest(trial.config)}

    def prepare(self, trial: Trial, say: Callable[[str], None]) -> bool:
        """Run what comes before an arm, where it is not done; whether anything was run."""
        pending = [step for step in trial.arm.prepare if not self.steps.is_done(step, trial.prepare_places())]
        for step in pending:
            say(f"  preparing {trial.arm.name}: {step.cfg_path}")
            self.steps.run(step, trial.prepare_places())
        if pending:
            self._captioners.clear()
        trial.made_from["captioner"] = self._captioner(trial.config)
        return bool(pending)

    def _captioner(self, config: DictConfig) -> str:
        """Digest of a reduction's captioner, read once; "" where it is yet to be trained."""
        path = str(config.model.get("finetuned"))
        if path not in self._captioners:
            self._captioners[path] = captioner_digest(config)
        return self._captioners[path]

    def found(self) -> dict[str, dict[int, Result]]:
        """The results that count, by arm and seed: not those that were made otherwise."""
        return {
            arm.name: {trial.seed: trial.result for trial in self.of(arm) if trial.is_done or trial.failure}
            for arm in self.ablation.arms
        }

    def shared_stages(self) -> dict[Path, bool]:
        """Folders of the stages that the chosen trials share, each with whether it is done."""
        found: dict[Path, bool] = {}
        for trial in self.pending():
            if not trial.obstacle:
                found |= shared_stages(trial.config)
        return found

    def _trial(self, arm: Arm, seed: int) -> Trial:
        config = reduction_config(self.ablation, arm, seed)
        result = self.results.load(arm.slug, seed)
        try:
            check_names(config)
        except ValueError as error:
            raise ValueError(f"{self.ablation.name}, arm {arm.name!r}: {error}") from error
        before = result.made_from.get("captioner", "") if result else ""
        made_from = {
            "config": deciding(config),
            "captioner": self._captioner(config) or before,
            "prepare": [_content(step, {"arm": arm.slug}) for step in arm.prepare],
            **self._scored_by(),
        }
        return Trial(arm, seed, config, made_from, result)

    def _scored_by(self) -> dict:
        if self.ablation.proxy:
            return {"proxy": asdict(self.ablation.proxy)}
        metrics = {name: asdict(metric) for name, metric in self.ablation.metrics.items()}
        return {"evaluate": [_content(step, {}) for step in self.ablation.evaluate], "metrics": metrics}


def _content(step: Step, places: Mapping[str, Any]) -> dict:
    return OmegaConf.to_container(step_config(step, places), resolve=False)


def check_arm_names(names: Sequence[str], ablations: Sequence[Ablation]) -> None:
    """Raise ValueError for a name that none of the ablations has."""
    known = [arm.name for ablation in ablations for arm in ablation.arms]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no arm {name!r}{closest(name, known)}.")
