"""What a reduction will do (`stages.explanation.explain`, with ``needs``) as text for a terminal."""

from __future__ import annotations

from lavis_tldr.reduction.criteria import CRITERIA, RANDOM
from lavis_tldr.reduction.refinement import ORIGINS, RECIPES
from lavis_tldr.report.wording import count, entry, number, printable, setting, share, wrapped

_STATES = {
    "to run": "will run",
    "to go on": "has begun, and goes on",
    "done": "done, taken as it is",
    "made anew": "made anew, as it is restarted",
    "refused": "REFUSED: what is there was made otherwise",
}
_SHOWN = 24  # characters of a value in the table of settings


def explanation_lines(facts: dict) -> list[str]:
    """Lines for ``facts``."""
    objective = facts["config"]["objective"] or "none: the usual defaults"
    lines = entry("set", printable(f"{facts['set']} in {facts['run']}"), 0)
    lines += entry("objective", objective, 0)
    lines += ["", "What runs, and what decides it (value, where that comes from, what it is):"]
    shown: set[str] = set()
    for stage in facts["stages"]:
        lines += _stage_lines(stage, facts["settings"], shown)
    if any(stage["state"] == "done" for stage in facts["stages"]):
        lines += entry("", "Whether source and weights are those of before is seen when it runs.", 2)
    lines += _outcome_lines(facts)
    lines += ["", "What it needs:", *(line for need in facts["needs"] for line in _need_lines(need))]
    for name in facts["unfinished"]:
        lines += entry("MISSING", f"the stage {name}, which is not finished: run it first, or leave out --stage")
    if facts["idle"]:
        lines += ["", "Warning: set, but without a say here:"]
        for idle in facts["idle"]:
            lines += entry("", f"{idle['name']} {setting(idle['value'])}: it has one {idle['when']}", 2)
    return lines


def _stage_lines(stage: dict, settings: dict[str, dict], shown: set[str]) -> list[str]:
    parts = f" ({count(stage['parts'])} parts are there)" if stage["parts"] else ""
    variant = f"{stage['variant']}: " if stage["variant"] else ""
    lines = entry(stage["name"], f"{variant}{_STATES[stage['state']]}{parts}. {stage['what']}", 0)
    lines += [line for change in stage["changes"] for line in entry("", change)]
    if stage["changes"]:
        lines += entry("", f"Give another run.name or run folder, or --restart {stage['name']}.")
    new = [name for name in stage["settings"] if name not in shown]
    shown.update(new)
    rows = [(name, _shown(settings[name]["value"]), settings[name]["from"], settings[name]["why"]) for name in new]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for *cells, why in rows:
        first = "  ".join(["  ", *map(str.ljust, cells, widths), ""])
        lines += wrapped(first, why)
    return lines


def _shown(value: object) -> str:
    text = setting(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _outcome_lines(facts: dict) -> list[str]:
    """What is kept and what becomes of the captions, of a call whose stages say so."""
    config, used, lines = facts["config"], facts["used"], []
    if "select" in used:
        lines += ["", "What is kept:"]
        lines += entry("share", f"{share(config['keep_ratio'])} of the usable pairs")
        for text in _left_out(config):
            lines += entry("without", text)
        lines += entry("of these", _first(config))
    if "refine" in used:
        lines += ["", "What becomes of the captions:", *entry("caption", _caption(config))]
    if "build" in used:
        where = "copied into build/images" if config["images"] == "export" else "read where they lie"
        lines += entry("images", where)
    return lines


def _left_out(config: dict) -> list[str]:
    told = []
    if config["prefilter"]:
        of = "each cluster" if config["prefilter_scope"] == "cluster" else "all"
        best = CRITERIA[config["prefilter"]].best
        told.append(f"all but {share(config['prefilter_share'])} of {of}, {best} first")
    if config["min_words"]:
        told.append(f"captions of fewer than {config['min_words']} words")
    if config["duplicate_threshold"] is not None:
        told.append(
            f"near duplicates: of pairs of one cluster with a cosine of {number(config['duplicate_threshold'])} or "
            f"more (by {config['duplicate_by']}) one stays"
        )
    return told


def _first(config: dict) -> str:
    by = "their size" if config["quota"] == "size" else "their density, so that wide and lonely ones get more"
    selection = config["selection"]
    if selection == RANDOM:
        return "those drawn, whatever their cluster"
    if selection not in CRITERIA:
        return f"those drawn from each cluster; clusters share by {by}"
    balance = config["balance"]
    told = f"{CRITERIA[selection].best} first"
    if balance == 0:
        return f"{told}, of all clusters together"
    rest = "" if balance == 1 else f", the other {share(1 - balance)} to the best of all"
    return f"{told}: {share(balance)} of the budget goes by cluster, which share by {by}{rest}"


def _caption(config: dict) -> str:
    recipe = RECIPES[config["recipe"]]
    if recipe.needs_alignment:
        gate = config["gate"]
        told = f"pair by pair, what fits the image: from an alignment of {number(gate)} on a caption does"
        (origin,) = recipe.choose(["a caption"], alignment=[gate], alignment_generated=[gate], threshold=gate)
        return f"{config['recipe']}: {told}; where two do, {ORIGINS[origin].told}"
    (origin,) = recipe.choose(["a caption"])
    return ORIGINS[origin].told


def _need_lines(need: dict) -> list[str]:
    state = {True: "there", False: "MISSING", None: "?"}[need["found"]]
    told = printable(need["value"]) or "not named"
    note = f"; {printable(need['note'])}" if need["note"] else ""
    return entry(state, f"{need['what']}: {told} ({need['setting']}){note}")
