"""``lavis-tldr repair RUN``: kept samples whose images have gone missing are replaced by understudies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lavis_tldr.runs.reduced_sets import CONFIG, find_set


def repair(
    run: Path, *, name: str | None = None, decode: bool = False, dry_run: bool = False, options: Sequence[str] = ()
) -> dict:
    """Repair a finished reduction, by the config that it was made with.

    Args:
        run: The run folder, or one recipe's in it; it may have moved since.
        name: The recipe, where the run has several.
        decode: Decode every kept image, rather than look whether its file, or its tar's header, is there.
        dry_run: Change nothing.
        options: "key=value" settings that override the config: paths that have moved since.

    Returns:
        Counts, as ``tldr_repair`` gives them.

    Raises:
        ValueError: If there is no such run, or it is not finished.
    """
    from lavis_tldr.train import run as run_config

    recipe = find_set(run, name)
    config = recipe / CONFIG
    if not config.is_file():
        raise ValueError(
            f"{recipe} lacks {CONFIG}, which a reduction leaves there: run `lavis-tldr reduce` with its config once "
            "more; it does nothing over again."
        )
    here = Path(os.path.abspath(recipe))
    settings = {
        "run.task": "tldr_repair",
        "run.output_dir": here.parent,
        "run.name": here.name,
        "run.stages": "[]",
        "run.restart": "[]",
        "run.repair_decode": decode,
        "run.repair_dry_run": dry_run,
    }
    return run_config(config, [*(f"{key}={value}" for key, value in settings.items()), *options]).result
