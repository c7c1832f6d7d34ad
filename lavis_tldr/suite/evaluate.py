"""Runs the evaluations of a checkpoint, each once."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from lavis_tldr import log
from lavis_tldr.datasets.downstream import catalogue
from lavis_tldr.files import file_digest
from lavis_tldr.runs.manifest import normalise
from lavis_tldr.suite.architectures import refusal
from lavis_tldr.suite.checkpoint import JudgedCheckpoint
from lavis_tldr.suite.conversions import convert_for
from lavis_tldr.suite.evaluations import Evaluation, Split
from lavis_tldr.suite.results import (
    Result,
    read_result,
    result_folder,
    what_changed,
    write_result,
)
from lavis_tldr.suite.run_configs import Wishes, run_config
from lavis_tldr.user_errors import is_user_error

logger = logging.getLogger(__name__)

DONE, KEPT, SKIPPED, REFUSED, FAILED = "done", "kept", "skipped", "refused", "failed"
# Settings that do not decide what is measured.
_FREE = {"run": ("device", "num_workers", "output_dir", "job_id", "distributed", "world_size", "dist_url", "log_freq")}
_LARGEST_LIST = 1 << 30  # bytes; annotation lists are smaller, and image archives are not looked into


@dataclass(frozen=True)
class Outcome:
    """What came of one evaluation.

    Attributes:
        evaluation: Its name.
        status: One of the above.
        told: A line: figures, or why there are none.
    """

    evaluation: str
    status: str
    told: str


@dataclass(frozen=True)
class Work:
    """What is to be evaluated, and where.

    Attributes:
        judged: The checkpoint.
        label: Its name in tables.
        seed: Of its training; None if unknown.
        root: Data root.
        out: Folder for results.
        wishes: The user's.
        protocol: `results.ZERO_SHOT` or `FINE_TUNED`.
    """

    judged: JudgedCheckpoint
    label: str
    seed: int | None
    root: Path
    out: Path
    wishes: Wishes
    protocol: str

    @property
    def folder(self) -> Path:
        """Where results go."""
        return result_folder(self.out, self.label, self.judged.arch, self.protocol, self.seed)


def evaluate_all(work: Work, evaluations: Sequence[Evaluation]) -> list[Outcome]:
    """Evaluate one after the other; one that fails does not end the others."""
    outcomes = []
    for evaluation in evaluations:
        try:
            outcome = _evaluate(work, evaluation)
        except Exception as error:
            if not is_user_error(error):
                logger.exception("%s failed", evaluation.name)
            outcome = Outcome(evaluation.name, FAILED, f"{type(error).__name__}: {error}")
        if log.rank() == 0:
            logger.info("%s: %s: %s", outcome.evaluation, outcome.status, outcome.told)
        outcomes.append(outcome)
    return outcomes


def _evaluate(work: Work, evaluation: Evaluation) -> Outcome:
    if reason := refusal(work.judged.arch, evaluation):
        return Outcome(evaluation.name, REFUSED, reason)
    folder, splits, missing = _splits_at_hand(work.root, evaluation)
    if not splits:
        return Outcome(evaluation.name, SKIPPED, missing[0])
    path = work.folder / f"{evaluation.name}.json"
    load = work.judged.architecture.skills[evaluation.skill]
    weights = work.folder / "converted" / f"{load.arch}.pth" if load.converted else work.judged.path
    configs = [
        (part, run_config(evaluation, part, work.judged, folder, weights, work.wishes))
        for part in ([[split] for split in splits] if evaluation.apart else [splits])
    ]
    settings = {", ".join(s.title for s in part): _deciding(config, folder, part) for part, config in configs}
    before = read_result(path)
    changed = what_changed(before, work.judged.digest, settings) if before else []
    if before and not changed:
        return Outcome(evaluation.name, KEPT, in_words(before.figures, evaluation))
    if changed:
        logger.warning("%s is evaluated anew: %s", evaluation.name, "; ".join(changed))
    if load.converted:
        convert_for(work.judged, load.arch, weights)
    result = _measure(work, evaluation, configs, settings)
    if log.rank() == 0:
        write_result(path, result)
    left = f" ({'; '.join(missing)})" if missing else ""
    return Outcome(evaluation.name, DONE, in_words(result.figures, evaluation) + left)


def _splits_at_hand(root: Path, evaluation: Evaluation) -> tuple[Path, list[Split], list[str]]:
    """The set's folder, the splits whose files are all there, and a line for each file that the others lack."""
    if evaluation.folder is not None:
        return evaluation.folder, list(evaluation.splits), []
    (downstream,) = catalogue.find_sets([evaluation.set])
    folder = catalogue.set_folder(downstream, root)
    there, told = [], []
    for split in evaluation.splits:
        missing = catalogue.missing_files(downstream, folder, split.needs)
        told += [catalogue.told_missing(downstream, folder, file) for file in missing]
        if not missing:
            there.append(split)
    return folder, there, list(dict.fromkeys(told))


def _deciding(config: DictConfig, folder: Path, splits: Sequence[Split]) -> dict:
    """What decides an evaluation's figures, besides the checkpoint: settings, and the lists that are read."""
    settings = OmegaConf.to_container(config, resolve=True)
    for section, keys in _FREE.items():
        for key in keys:
            settings[section].pop(key, None)
    for key in ("finetuned", "pretrained"):  # its digest counts, not its place
        settings["model"].pop(key, None)
    lists = sorted({path for split in splits for pattern in split.needs for path in folder.glob(pattern)})
    lists = [path for path in lists if path.is_file() and path.stat().st_size < _LARGEST_LIST]
    return normalise({**settings, "lists": {str(path): file_digest(path) for path in lists}})


def _measure(work: Work, evaluation: Evaluation, configs: Sequence[tuple], settings: dict) -> Result:
    from lavis_tldr.train import run_config as run

    started, figures, device = time.monotonic(), {}, ""
    for splits, config in configs:
        job = evaluation.name + (f"_{splits[0].title}" if evaluation.apart else "")
        own = {"output_dir": str(work.folder / "runs"), "job_id": job}
        runner = run(OmegaConf.merge(config, {"run": own}), name=job)
        figures.update({split.title: _figures(evaluation, runner.tested.get(split.name)) for split in splits})
        device = str(runner.device)
    judged = work.judged
    return Result(
        evaluation=evaluation.name,
        label=work.label,
        seed=work.seed,
        family=judged.architecture.family,
        arch=judged.arch,
        protocol=work.protocol,
        figures=figures,
        checkpoint=str(judged.path),
        digest=judged.digest,
        settings=settings,
        title=evaluation.title,
        reported=[asdict(figure) for figure in evaluation.figures],
        initialisation=judged.initialisation,
        account=judged.account,
        seconds=round(time.monotonic() - started, 1),
        device=device,
    )


def _figures(evaluation: Evaluation, found: Mapping | None) -> dict[str, float]:
    """All numbers of a task's result.

    Raises:
        ValueError: If there is no result, or a figure that is reported is no finite number.
    """
    if log.rank() != 0:  # ranks other than the first may have no result
        return {}
    numbers = {name: float(value) for name, value in (found or {}).items() if isinstance(value, (int, float))}
    wanted = evaluation.figures[0].name
    bad = [name for name, value in numbers.items() if not math.isfinite(value)]
    if wanted not in numbers or bad:
        what = f"no figure {wanted!r}" if wanted not in numbers else f"{bad[0]} {numbers[bad[0]]}"
        raise ValueError(f"the task {evaluation.task} gave {what}: look into its log, or at the model's scores.")
    return numbers


def in_words(figures: Mapping[str, Mapping[str, float]], evaluation: Evaluation) -> str:
    """``test: TR@1 12.00, IR@1 9.50``."""
    told = []
    for split, found in figures.items():
        numbers = [f"{f.title} {found[f.name]:.2f}" for f in evaluation.figures if f.name in found]
        told.append(f"{split}: {', '.join(numbers)}")
    return "; ".join(told)
