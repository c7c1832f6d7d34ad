"""Runs ablations: what is not done yet, arm by arm, with tables and plots of all that is there."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lavis_tldr.ablation.plan import Plan, Result, Trial, check_arm_names
from lavis_tldr.ablation.proxy import ProxyScorer
from lavis_tldr.ablation.reductions import LoadedOnce, ledger_digest, reduce_set
from lavis_tldr.ablation.report import summarize, write_report
from lavis_tldr.ablation.settings import Ablation, load_ablation
from lavis_tldr.ablation.steps import fill_in, read_metric
from lavis_tldr.log import to_file
from lavis_tldr.models.sentence_encoder import remembering_embeddings
from lavis_tldr.report.wording import duration
from lavis_tldr.user_errors import is_user_error

logger = logging.getLogger(__name__)

_LOG = "log.txt"


def ablate(
    cfg_paths: Sequence[str],
    *,
    arms: Sequence[str] = (),
    restart: Sequence[str] = (),
    dry_run: bool = False,
    options: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
) -> bool:
    """Run ablations one after the other; model, data and features are loaded once for all.

    Args:
        cfg_paths: Their YAML files.
        arms: Run only these.
        restart: Arms whose results are thrown away first.
        dry_run: Only say what would be done.
        options: "key=value" settings that override all of the files.
        say: Where progress goes, a line at a time; to the terminal if None.

    Returns:
        Whether no arm failed.

    Raises:
        ValueError: For what is wrong with a config, before anything is run.
    """
    say = say or _print
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ValueError(
            "ablate is one process. Run a dear stage by many processes first, with `lavis-tldr reduce` on the arm's "
            "RUN/NAME/config.yaml; ablate goes on from there."
        )
    ablations = [load_ablation(path, options) for path in cfg_paths]
    check_arm_names([*arms, *restart], ablations)
    plans = [Plan(ablation, arms) for ablation in ablations]
    if dry_run:
        for plan in plans:
            _tell(plan, restart, say)
        return True
    for plan in plans:
        plan.forget(restart)
        plan.refuse_changed()
    runner = _Runner(restart, say)
    with remembering_embeddings():
        return all([runner.run(plan) for plan in plans])


def _print(line: str) -> None:
    print(line, flush=True)  # also into a file, line by line


def _tell(plan: Plan, restart: Sequence[str], say: Callable[[str], None]) -> None:
    """The plan, for a dry run."""
    ablation, pending = plan.ablation, plan.pending()
    say(f"{ablation.name}: {ablation.title}")
    for arm in plan.chosen:
        trials = plan.of(arm)
        changed = [line for trial in trials for line in trial.changes]
        state = f"{sum(trial.is_done for trial in trials)} of {len(trials)} seeds done"
        state += "".join({f", failed before: {trial.failure}" for trial in trials if trial.failure})
        if arm.name in restart:
            state = "to be made anew"
        elif arm.obstacle:
            state = arm.obstacle
        elif changed:
            state = f"refused, changed since: {'; '.join(dict.fromkeys(changed))}"
        say(f"  {arm.name}{' (reference)' if arm.is_reference else ''}: {state}")
        if obstacle := trials[0].obstacle:
            say(f"    would fail: {obstacle}")
        for step in arm.prepare:
            done = plan.steps.is_done(step, trials[0].prepare_places())
            say(f"    prepare {step.cfg_path}: {'done' if done else 'to do'}")
    shared = plan.shared_stages()
    if shared:
        missing = [folder for folder, done in shared.items() if not done]
        say(f"  shared stages: {len(shared) - len(missing)} of {len(shared)} done{'; to do:' if missing else ''}")
        for folder in missing:
            say(f"    {folder}")
    known = [trial.result.seconds for trial in plan.trials if trial.is_done]
    expected = f", about {duration(len(pending) * sum(known) / len(known))}" if known and pending else ""
    say(f"  {len(pending)} trials to do{expected}, scored by {'the proxy' if ablation.proxy else 'evaluate'}")


class _Runner:
    """Runs plans with what they share held in memory."""

    def __init__(self, restart: Sequence[str], say: Callable[[str], None]):
        self._restart, self._say = restart, say
        self._loaded = LoadedOnce()
        self._scorers: list[ProxyScorer] = []

    def run(self, plan: Plan) -> bool:
        """Run what a plan has to do, and write its report; whether no arm failed."""
        ablation = plan.ablation
        pending = plan.pending()
        self._say(f"{ablation.name}: {len(pending)} trials to do, details in {ablation.output_dir / _LOG}")
        progress = _Progress(len(pending))
        with to_file(ablation.output_dir / _LOG):
            for arm in plan.chosen:
                if arm.obstacle:
                    self._say(f"  {arm.name}: {arm.obstacle}")
                for trial in [] if arm.obstacle else plan.of(arm):
                    if trial.is_done:
                        continue
                    trial.result = self._tried(plan, trial)
                    plan.results.save(arm.slug, trial.seed, trial.result)
                    self._say(progress.line(ablation, trial))
                    if trial.result.error:
                        break  # other seeds would fail likewise
                write_report(ablation, summarize(ablation, plan.found()), ablation.output_dir)
        run = [arm for arm in plan.chosen if not arm.obstacle]
        failed = [arm.name for arm in run if any(trial.failure for trial in plan.of(arm))]
        if failed:
            self._say(f"{ablation.name}: {len(failed)} arms failed: {', '.join(failed)}")
        self._say(f"{ablation.name}: {ablation.output_dir / ablation.name}.md, .csv and .png")
        return not failed

    def _tried(self, plan: Plan, trial: Trial) -> Result:
        """The trial's result; where it fails, one that says why."""
        started = time.monotonic()
        try:
            metrics, pairs = self._run(plan, trial)
            ledger = ledger_digest(trial.config)
            seconds = round(time.monotonic() - started, 1)
            return Result(trial.made_from, metrics, pairs, ledger, seconds)
        except Exception as error:  # whatever it is, the other arms can do without this one
            logger.exception("arm %s, seed %d", trial.arm.name, trial.seed)
            told = str(error) if is_user_error(error) else f"{type(error).__name__}: {error}"
            return Result(trial.made_from, error=told, seconds=round(time.monotonic() - started, 1))

    def _run(self, plan: Plan, trial: Trial) -> tuple[dict[str, float], int]:
        if plan.prepare(trial, self._say):
            self._loaded.forget()  # a captioner may be another now
        runner = reduce_set(trial.config, self._loaded, restart=trial.arm.name in self._restart)
        if plan.ablation.proxy:
            return self._scorer(plan.ablation)(trial.folder, runner, trial.seed)
        return self._evaluated(plan, trial), runner.result["counts"]["kept"]

    def _scorer(self, ablation: Ablation) -> ProxyScorer:
        for scorer in self._scorers:
            if scorer.settings == ablation.proxy:
                return scorer
        self._scorers.append(ProxyScorer(ablation.proxy))
        return self._scorers[-1]

    def _evaluated(self, plan: Plan, trial: Trial) -> dict[str, float]:
        """Metrics of the runs that are named instead of the proxy."""
        places = trial.places(plan.ablation)
        for step in plan.ablation.evaluate:
            plan.steps.run(step, places, plan.inputs_of(trial))
        return {
            name: read_metric(metric, Path(fill_in(metric.file, places)))
            for name, metric in plan.ablation.metrics.items()
        }


class _Progress:
    """Lines that say how far it is, and how long the rest will take."""

    def __init__(self, total: int):
        self._total, self._count, self._started = total, 0, time.monotonic()

    def line(self, ablation: Ablation, trial: Trial) -> str:
        self._count += 1
        result, shown = trial.result, ablation.report[0]
        outcome = f"failed: {result.error}" if result.error else f"{shown} {result.metrics[shown]:.2f}"
        left = (time.monotonic() - self._started) / self._count * (self._total - self._count)
        return (
            f"[{self._count}/{self._total}] {trial.arm.name}, seed {trial.seed}: {outcome} "
            f"({duration(result.seconds)}; about {duration(left)} left)"
        )
