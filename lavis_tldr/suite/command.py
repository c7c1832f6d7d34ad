"""`lavis-tldr evaluate`, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lavis_tldr import log
from lavis_tldr.datasets.downstream.catalogue import data_root
from lavis_tldr.suite.checkpoint import read_judged
from lavis_tldr.suite.evaluate import FAILED, REFUSED, SKIPPED, Outcome, Work, evaluate_all
from lavis_tldr.suite.evaluations import SUITES, Evaluation, choose
from lavis_tldr.suite.own_sets import own_evaluation
from lavis_tldr.suite.results import FINE_TUNED, ZERO_SHOT, collect
from lavis_tldr.suite.rows import build_rows
from lavis_tldr.suite.run_configs import Wishes
from lavis_tldr.suite.tables import write_tables
from lavis_tldr.user_errors import closest

# Outcomes that make a fault of a run: what was asked for by name must come about.
FAULTY = {"in a suite": (FAILED,), "asked for": (FAILED, REFUSED, SKIPPED)}


def evaluate(
    checkpoint: str | Path,
    *,
    label: str | None = None,
    seed: int | None = None,
    config: str | Path | None = None,
    suite: str | None = None,
    names: Sequence[str] = (),
    retrieval: Sequence[str] = (),
    captions: Sequence[str] = (),
    data: str | Path | None = None,
    out: str | Path = "evaluations",
    baseline: str | None = None,
    protocol: str | None = None,
    device: str = "auto",
    options: Sequence[str] = (),
) -> list[Outcome]:
    """Run evaluations of a checkpoint and write the table of all results in ``out``.

    Args:
        checkpoint: That a training saved.
        label: Its name in tables; None: its folder's.
        seed: Of its training; None: as its config says.
        config: The run config that it was trained with; None: as the checkpoint tells.
        suite: One of `evaluations.SUITES`; None: "paper", or nothing where the following say what.
        names: Evaluations.
        retrieval: "NAME=LIST,IMAGES" of sets of one's own (`own_sets`).
        captions: The same, to write captions for.
        data: Data root; None: see `data_root`.
        out: Folder for results.
        baseline: Label whose rows the table compares the others with.
        protocol: "zero-shot" or "fine-tuned"; None: as the model's kind says.
        device: "auto", "cuda" or "cpu".
        options: "key=value" over all run configs.

    Returns:
        What came of each evaluation. One that fails, or can't be run, does not end the others.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If checkpoint, suite, an evaluation or an option is not what is expected.
    """
    own = [own_evaluation("retrieval", asked) for asked in retrieval]
    own += [own_evaluation("captions", asked) for asked in captions]
    evaluations = [*_asked(suite, names, bool(own)), *own]
    wishes = Wishes(tuple(options), device)
    judged = read_judged(checkpoint, config)
    out = Path(out)
    work = Work(
        judged,
        label=label or judged.label,
        seed=judged.seed if seed is None else seed,
        root=data_root(data),
        out=out,
        wishes=wishes,
        protocol=protocol or (FINE_TUNED if judged.architecture.finetuned else ZERO_SHOT),
    )
    _check_names(evaluations)
    work.folder  # noqa: B018  (refuses a label before anything is done)
    outcomes = evaluate_all(work, evaluations)
    if log.rank() == 0 and (results := list(collect([out] if out.is_dir() else []))):
        known = {row.label for row in build_rows(results)}
        write_tables(results, out, baseline if baseline in known else None)
    return outcomes


def _asked(suite: str | None, names: Sequence[str], has_own: bool) -> list[Evaluation]:
    if suite is not None and suite not in SUITES:
        raise ValueError(f"there is no suite {suite!r}{closest(suite, SUITES)}.")
    if suite is None and not names and not has_own:
        suite = "paper"
    return choose(SUITES[suite] if suite else names)


def _check_names(evaluations: Sequence[Evaluation]) -> None:
    names = [evaluation.name for evaluation in evaluations]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"the evaluation {twice[0]!r} is asked for twice: give each set of your own a name of its own."
        )
