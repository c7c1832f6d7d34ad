"""What a reduction notes of a reduced set beside its stages: its config, and which shared stages it uses."""

from pathlib import Path

from lavis.common.dist_utils import is_main_process
from omegaconf import DictConfig, OmegaConf

from lavis_tldr.files import write_whole
from lavis_tldr.models.collectives import from_rank_zero
from lavis_tldr.runs.reduced_sets import CONFIG, note_variants, noted_variants, open_stage
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import OWN_STAGES, STAGES, dependents, shared_variants
from lavis_tldr.stages.context import Context
from lavis_tldr.stages.reduce_config import objective_values

_OF_ONE_CALL = ("stages", "restart")  # settings that are not of the set


def note_set(context: Context, config: DictConfig) -> None:
    """Write down the set's config and the shared stages that it uses, on the first process.

    Who finds the set can then make it again, repair it, or trace a sample back.

    Args:
        context: The run.
        config: All of it.

    Raises:
        ValueError: If the set's stages were made from other variants of the shared stages, or with other settings,
            and are not restarted: told before hours are spent on new ones, and before the note says what is not so.
    """
    # All processes raise it together.
    if refusal := from_rank_zero(lambda: _refusal(context)):
        raise ValueError(refusal)
    if not is_main_process():
        return
    folder = context.set_root
    folder.mkdir(parents=True, exist_ok=True)
    note_variants(folder, shared_variants(context.config))
    config = OmegaConf.masked_copy(config, list(config))
    for name in _OF_ONE_CALL:
        config.run.pop(name, None)
    # As it was resolved: what an objective sets may be tuned in a later version.
    config.run.update(objective_values(config.run))
    with write_whole(folder / CONFIG) as path:
        path.write_text(f"# Relative paths count from {Path.cwd()}\n{OmegaConf.to_yaml(config)}", encoding="utf-8")


def _refusal(context: Context) -> str:
    """What is wrong with the set as it is; "" where nothing is."""
    try:
        noted = noted_variants(context.set_root) or {}
    except ValueError:  # it is about to be written anew
        noted = {}
    try:
        made = _made(context)
        used = {name for stage in made.values() for name in stage.inputs}
        changed = [
            f"  {name}: {noted[name]} -> {variant}\n"
            for name, variant in context.variants.items()
            if name in used and noted.get(name, variant) != variant
        ]
        if not changed:
            _check_settings(context, made)
    except ValueError as error:
        return str(error)
    if not changed:
        return ""
    return (
        f"reduced set {context.config.name!r} in {context.root} was made from other shared stages than asked for now:\n"
        f"{''.join(changed)}Give the new one another run.name, or use `--restart select` to make this one anew."
    )


def _made(context: Context) -> dict[str, Stage]:
    """The set's stages that have begun, by name, those left out that are to be restarted."""
    restarted = dependents(context.config.restart, context.config)
    found = {name: open_stage(context.set_root / name) for name in OWN_STAGES if name not in restarted}
    return {name: stage for name, stage in found.items() if stage is not None}


def _check_settings(context: Context, made: dict[str, Stage]) -> None:
    """Refuse other settings than those that the captions and their selection were made with."""
    for name in ("select", "refine"):
        if name in made:
            _ = Stage(context.set_root, name, STAGES[name].settings_of(context.config), made[name].inputs).manifest
