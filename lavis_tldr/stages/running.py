"""Runs the stages of a reduction that are asked for and not done, one job at a time in a folder."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from lavis.common.dist_utils import is_main_process

from lavis_tldr.models.collectives import barrier, from_rank_zero
from lavis_tldr.runs.lock import clear_dead_lock, run_lock
from lavis_tldr.runs.repairs import REPAIR_PLAN
from lavis_tldr.runs.stages import OWN_STAGES, SHARED_STAGES, dependents
from lavis_tldr.stages import build, repair
from lavis_tldr.stages.context import Context, stage_module
from lavis_tldr.stages.summary import closing_summary

logger = logging.getLogger(__name__)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other jobs out of a folder; all processes of this one come here together, and a refusal reaches them all."""
    with ExitStack() as held:
        refusal = None
        if is_main_process():
            try:
                held.enter_context(run_lock(folder))
            except ValueError as error:
                refusal = str(error)
        if refusal := from_rank_zero(lambda: refusal):
            raise ValueError(refusal)
        yield
        barrier()  # the first process holds the lock until all are done


def run_stages(context: Context, names: Sequence[str]) -> dict:
    """Run those of the stages that are not done, in the order given.

    Returns:
        The closing summary's figures; empty on all processes but the first.
    """
    if is_main_process():
        clear_dead_lock(context.root)  # if its shared stages are done, no job takes that lock any more
        for name in set(names).intersection(OWN_STAGES):  # a shared one may be another job's at this moment
            context.closed_stage(name).end_restart()
    barrier()
    for name in names:
        if name == "repair" and not repair.load_plan(context):
            continue
        stage = context.stage(name)
        stage.open()
        if not stage.is_done():
            logger.info("stage %s", name)
            context.ran.append(name)
            # Jobs of other sets may run at the same time, once these are done.
            with alone(context.root) if name in SHARED_STAGES else nullcontext():
                stage_module(name).run(context, stage)
    return closing_summary(context, names) if is_main_process() else {}


def restart_stages(context: Context) -> None:
    """Forget the stages that the config restarts; those that are made from their files must go as well.

    Of a shared stage goes the variant that this set uses.
    """
    if is_main_process():
        # The last first: cut short, what is left is what it was made from, never a repair of another selection.
        for name in reversed(dependents(context.config.restart, context.config)):
            stage = context.closed_stage(name)
            stage.restart()
            if name == "repair":  # of another selection
                (context.set_root / REPAIR_PLAN).unlink(missing_ok=True)
            if name == "build":
                build.forget_images(stage)
    barrier()
