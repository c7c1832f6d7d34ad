"""What a reduction notes of a recipe beside its stages: its config, and which shared stages it uses."""

from pathlib import Path

from lavis.common.dist_utils import is_main_process
from omegaconf import DictConfig, OmegaConf

from lavis_tldr.files import write_whole
from lavis_tldr.models.collectives import from_rank_zero
from lavis_tldr.runs.reduced_sets import CONFIG, OWN_STAGES, note_variants, noted_variants, open_stage
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.stages import made_from, refine, select
from lavis_tldr.stages.context import Context

_OF_ONE_CALL = ("stages", "restart")  # settings that are not of the set


def note_set(context: Context, config: DictConfig) -> None:
    """Write down the recipe's config and the shared stages that it uses, on the first process.

    Who finds the set can then make it again, repair it, or trace a sample back.

    Args:
        context: The run.
        config: All of it.

    Raises:
        ValueError: If the recipe's stages were made from other variants of the shared stages, or with other settings,
            and are not restarted: told before hours are spent on new ones, and before the note says what is not so.
    """
    # All processes raise it together.
    if refusal := from_rank_zero(lambda: _refusal(context)):
        raise ValueError(refusal)
    if not is_main_process():
        return
    recipe = context.set_root
    recipe.mkdir(parents=True, exist_ok=True)
    note_variants(recipe, {name: context.variants.get(name, "") for name in context.config.shared_stages})
    config = OmegaConf.masked_copy(config, list(config))
    for name in _OF_ONE_CALL:
        config.run.pop(name, None)
    with write_whole(recipe / CONFIG) as path:
        path.write_text(f"# Relative paths count from {Path.cwd()}\n{OmegaConf.to_yaml(config)}", encoding="utf-8")


def _refusal(context: Context) -> str:
    """What is wrong with the recipe as it is; "" where nothing is."""
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
        f"recipe {context.config.name!r} in {context.root} was made from other shared stages than asked for now:\n"
        f"{''.join(changed)}Give the new one another run.name, or use `--restart select` to make this one anew."
    )


def _made(context: Context) -> dict[str, Stage]:
    """The recipe's stages that have begun, by name, those left out that are to be restarted."""
    restarted = made_from(context.config.restart, context.config.scores_use_captions)
    found = {name: open_stage(context.set_root / name) for name in OWN_STAGES if name not in restarted}
    return {name: stage for name, stage in found.items() if stage is not None}


def _check_settings(context: Context, made: dict[str, Stage]) -> None:
    """Refuse other settings than those that the captions and their selection were made with."""
    for name, settings in (("select", select.settings), ("refine", refine.settings)):
        if name in made:
            _ = Stage(context.set_root, name, settings(context), made[name].inputs).manifest
