"""What a reduction will do with its settings, and why, without running any of it: no weights, no lock, no source read.

All of it follows from the table of stages and from `ReduceConfig`: a setting that is new there shows up by itself.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from lavis_tldr.files import TEMPORARY_PREFIX
from lavis_tldr.runs.manifest import changes, normalise
from lavis_tldr.runs.reduced_sets import noted_variants, open_stage
from lavis_tldr.runs.repairs import Repairs
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import SHARED_STAGES, STAGES, Setting, StageSpec, dependents, used_stages, variants_of
from lavis_tldr.stages.reduce_config import CHOICES, ReduceConfig, objective_defaults
from lavis_tldr.stages.score_settings import read_score_settings

# What becomes of a stage.
TO_RUN, TO_GO_ON, DONE, ANEW, REFUSED = "to run", "to go on", "done", "made anew", "refused"
CONFIG, OBJECTIVE, DEFAULT = "config", "objective", "default"  # where a value comes from

_FIELDS = {field.name: field for field in fields(ReduceConfig)}
_ATTRIBUTE = re.compile(r"^        (\w+(?:, \w+)*): (.+?)(?=^        \w|^$|\Z)", re.DOTALL | re.MULTILINE)
_END_OF_CLAUSE = re.compile(r"[.;:](?=\s|$)| \(")


def explain(run: Mapping, asked: Collection[str], task_stages: Collection[str]) -> dict:
    """What a reduction will do.

    Args:
        run: The ``run`` section as its user gave it.
        asked: Stages that this call is to run, in order.
        task_stages: Those that the task runs where no single one is asked for.

    Returns:
        - ``run``, ``set``: the run folder and the name of the set in it
        - ``config``: every setting as it is resolved, and ``gate``, the score from which on a caption fits
        - ``settings``: of each setting, ``value``, ``from`` (one of this module's) and ``why``
        - ``stages``: of each stage that is asked for, ``name``, ``what``, ``variant``, ``state`` (one of this
          module's), ``parts`` that are there, ``changes`` for which it is refused, and the names of its ``settings``
        - ``unfinished``: stages that are needed, not asked for and not there
        - ``used``: all stages that are asked for or that these are made from
        - ``idle``: settings of the user's that have no say, with what would give them one

    Raises:
        ValueError: If a setting is out of range, or a manifest is damaged.
    """
    config = ReduceConfig.from_run(run, needs_weights=False)
    root = Path(str(run.get("output_dir", "output"))).expanduser().absolute()
    if not Repairs.load(root / config.name).replaced:
        asked = [name for name in asked if name != "repair"]
    given = set(_FIELDS).intersection(read_score_settings(run))
    used = _made_from(asked, config)
    stages = [_stage_facts(STAGES[name], config, root) for name in asked]
    before = [name for name in used if name not in asked and _stage_facts(STAGES[name], config, root)["state"] != DONE]
    return {
        "run": str(root),
        "set": config.name,
        "config": normalise({**vars(config), "gate": config.gate}),
        "settings": _settings(config, run, given),
        "stages": stages,
        "unfinished": before,
        "used": used,
        "idle": idle_settings(config, given, task_stages),
    }


def settings_behind(setting: Setting) -> list[str]:
    """The settings of a run that give one of the table of stages; none where the stage's module gives it.

    That is the one that it is made ``of``, the one of its own name, or those that its note names.
    """
    if setting.by_stage:
        return []
    for name in (setting.of, setting.name):
        if name in _FIELDS:
            return [name]
    return [word for word in re.findall(r"\w+", setting.note) if word in _FIELDS]


def meanings() -> dict[str, str]:
    """What each setting is, the first clause of its entry in the docstring of `ReduceConfig`."""
    found = {}
    for names, text in _ATTRIBUTE.findall(ReduceConfig.__doc__ or ""):
        clause = _END_OF_CLAUSE.split(" ".join(text.split()), maxsplit=1)[0]
        found |= dict.fromkeys(names.split(", "), clause)
    return found


def _settings(config: ReduceConfig, run: Mapping, given: Collection[str]) -> dict[str, dict]:
    by_objective, known = objective_defaults(run), meanings()
    found = {}
    for name in _FIELDS:
        origin = CONFIG if name in given else OBJECTIVE if name in by_objective else DEFAULT
        why = by_objective[name].why if origin == OBJECTIVE else known.get(name, "")
        found[name] = {"value": normalise(getattr(config, name)), "from": origin, "why": why}
    return found


def _made_from(names: Collection[str], config: ReduceConfig) -> list[str]:
    """These stages and all that they are made from, in order."""
    found = set(names)
    for name in reversed(STAGES):
        if name in found:
            found.update(STAGES[name].links_of(config))
    return [name for name in STAGES if name in found]


def _stage_facts(spec: StageSpec, config: ReduceConfig, root: Path) -> dict:
    state, parts, changed = _state(spec, config, root)
    deciding = [name for s in spec.settings if s.when(config) for name in settings_behind(s)]
    return {
        "name": spec.name,
        "what": spec.what,
        "variant": variants_of(config).get(spec.name, ""),
        "state": state,
        "parts": parts,
        "changes": changed,
        "settings": list(dict.fromkeys(deciding)),
    }


def _folder(spec: StageSpec, config: ReduceConfig, root: Path) -> Path:
    variant = variants_of(config).get(spec.name, "")
    return Stage(root if spec.shared else root / config.name, spec.name, {}, {}, variant).folder


def _state(spec: StageSpec, config: ReduceConfig, root: Path) -> tuple[str, int, list[str]]:
    """What becomes of a stage, how many parts of it are there, and for which changes it would be refused."""
    made = open_stage(_folder(spec, config, root))
    if made is None:
        return TO_RUN, 0, []
    if spec.name in dependents(config.restart, config):
        return ANEW, 0, []
    if changed := _changes(spec, config, root, made):
        return REFUSED, 0, changed
    try:
        if made.is_done():
            return DONE, 0, []
    except ValueError as error:
        return REFUSED, 0, [str(error)]
    parts = [path for path in made.folder.glob("*.parquet") if not path.name.startswith(TEMPORARY_PREFIX)]
    return TO_GO_ON, len(parts), []


def _changes(spec: StageSpec, config: ReduceConfig, root: Path, made: Stage) -> list[str]:
    """What tells a stage from what the settings ask for now. What its module gives is not known without weights."""
    by_module = {setting.name for setting in spec.settings if setting.by_stage}
    before = {name: value for name, value in made.config.items() if name not in by_module}
    found = changes(before, normalise(spec.settings_of(config)))
    links, may_have = spec.links_of(config), {link.stage for link in spec.made_from if link.by_stage}
    found += [f"{name}: not made from it, and now to be" for name in links if name not in made.inputs]
    for name in made.inputs:
        if name in STAGES and name not in may_have and name not in links:
            found.append(f"{name}: made from it, and now not to be")
    noted = {} if spec.name in SHARED_STAGES else _noted(root / config.name)
    for name in (name for name in links if name in made.inputs):
        variant, asked = noted.get(name, ""), variants_of(config).get(name, "")
        link = open_stage(_folder(STAGES[name], config, root))
        if variant and variant != asked:
            found.append(f"{name}: {variant} -> {asked}")
        elif link is not None and _digest(link) not in ("", made.inputs[name]):
            found.append(f"{name}: made anew since")
    return found


def _noted(folder: Path) -> dict[str, str]:
    try:
        return noted_variants(folder) or {}
    except ValueError:  # the run writes it anew
        return {}


def _digest(stage: Stage) -> str:
    """Of a finished stage; "" where it is not finished, or a file of it has changed."""
    try:
        return stage.digest
    except ValueError:
        return ""


def idle_settings(config: ReduceConfig, given: Collection[str], stages: Collection[str]) -> list[dict]:
    """Settings that were given and have no say with the others as they are.

    One that another value of its own would give a say is off, not idle, such as ``min_words: 0``.

    Args:
        config: The settings.
        given: Names of those that the user gave.
        stages: What the task runs.

    Returns:
        ``name``, ``value`` and ``when`` it has a say.
    """
    found = []
    for name in (name for name in _FIELDS if name in given):
        when = _when_it_has_a_say(name)
        if when and not any(_has_say(name, other, stages) for other in (config, *_with_others(config, name))):
            found.append({"name": name, "value": normalise(getattr(config, name)), "when": when})
    return found


def _with_others(config: ReduceConfig, name: str) -> list[ReduceConfig]:
    """The settings with other values of one of them, in range or not."""
    value = getattr(config, name)
    others: list[Any] = []
    if name in CHOICES:
        others = [choice for choice in CHOICES[name] if choice != value]
    elif isinstance(value, bool):
        others = [not value]
    elif isinstance(value, str):
        others = [f"{value}x"]
    elif value is None or isinstance(value, (int, float)):
        others = [(value or 0) + 1]
    return [replace(config, **{name: other}) for other in others]


# Settings that no manifest holds, and which stages they matter to: weights are told from others by their digests.
_OUTSIDE_THE_TABLE = {
    "similarity_weights": (
        lambda c: c.embed_captions,
        "where captions are embedded; `lavis-tldr advise` reads it, too",
    ),
    "target": (lambda c: {"score"} if "normsim" in c.scorers else set(), "with alignment normsim"),
    "embeddings": (lambda c: {"score"} if "given" in c.scorers else set(), "with alignment given"),
    "blip_weights": (lambda c: c.use_blip, "where BLIP scores or clusters"),
    "blip_model_type": (lambda c: c.use_blip, "where BLIP scores or clusters"),
    "feature_cache": (lambda c: {"encode"}, "where images are encoded"),
}


def _when_it_has_a_say(name: str) -> str:
    """In words; "" where it always has one."""
    if name == "seed":  # every run of LAVIS is seeded by it
        return ""
    if name in _OUTSIDE_THE_TABLE:
        return _OUTSIDE_THE_TABLE[name][1]
    notes = {}
    for spec in STAGES.values():
        for setting in spec.settings:
            if name in settings_behind(setting):
                is_note = setting.note and name not in setting.note
                notes[setting.note if is_note else f"with the stage {spec.name}"] = None
    return ", or ".join(notes)


def _has_say(name: str, config: ReduceConfig, stages: Collection[str]) -> bool:
    used = _used_by(stages, config)
    if name in _OUTSIDE_THE_TABLE:
        return not used.isdisjoint(_OUTSIDE_THE_TABLE[name][0](config))
    return any(
        setting.when(config) and name in settings_behind(setting)
        for stage in used
        for setting in STAGES[stage].settings
    )


def _used_by(stages: Collection[str], config: ReduceConfig) -> set[str]:
    """What a task's stages are made from. All of a set's are, with other settings, other ones."""
    last_own = [name for name in stages if not STAGES[name].shared]
    return {*_made_from(used_stages(config) if last_own else stages, config)}
