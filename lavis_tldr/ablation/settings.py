"""What an ablation's YAML says.

base: a reduction's config
overrides: of all arms, by dotted key or nested; texts may hold {arm}
prepare: LAVIS runs that come before an arm, once ({cfg_path, options})
reference: {name: overrides}; the first is what the others are compared with
arms: {name: overrides}; an arm may also have a base and prepare of its own, and the file that it needs
seeds: their number, or a list
proxy, or evaluate and metrics: what arms are scored by
report, plot, title, output_dir: of the results
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lavis_tldr.evaluation.retrieval_proxy import METRICS, ProxyOptions
from lavis_tldr.train import load_yaml
from lavis_tldr.user_errors import closest

_KEYS = (
    "title",
    "base",
    "overrides",
    "reference",
    "arms",
    "prepare",
    "seeds",
    "proxy",
    "evaluate",
    "metrics",
    "report",
    "plot",
    "output_dir",
)
_SECTIONS = ("run", "model", "datasets")


@dataclass(frozen=True)
class Step:
    """A LAVIS run config with options, by dotted key; texts may hold {arm}, {seed}, {build} and {output}."""

    cfg_path: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """A reduction to compare.

    Attributes:
        name: As the tables show it.
        base: Path of the reduction's config.
        overrides: Of this config; the ablation's own come first.
        prepare: Runs that come before it, once.
        is_reference: Whether it is a baseline.
        needs: File without which it is skipped, such as weights; "" for none.
    """

    name: str
    base: str
    overrides: tuple[dict[str, Any], ...]
    prepare: tuple[Step, ...] = ()
    is_reference: bool = False
    needs: str = ""

    @property
    def obstacle(self) -> str:
        """Why it is skipped, or ""."""
        return f"skipped: there is no file {self.needs}" if self.needs and not Path(self.needs).is_file() else ""

    @property
    def slug(self) -> str:
        """The name as a file name."""
        return re.sub(r"[^A-Za-z0-9+.-]+", "_", self.name).strip("_.") or "arm"


@dataclass(frozen=True)
class ProxySettings:
    """How the proxy is trained and scored.

    Attributes:
        val: The source of the pairs to score on (as `tldr_captions` takes it).
        similarity_weights: Sentence encoder that gives the text features.
        feature_cache: Folder of patch features computed before, or "".
        options: Of the proxy.
    """

    val: dict[str, Any]
    similarity_weights: str
    feature_cache: str = ""
    options: ProxyOptions = field(default_factory=ProxyOptions)


@dataclass(frozen=True)
class Metric:
    """Where a number lies: a file whose lines are JSON, of which the last with the key counts."""

    file: str
    key: str


@dataclass(frozen=True)
class Plot:
    """How the results are drawn.

    Attributes:
        x: Config key whose value is the horizontal axis; "" draws a bar for each arm.
        label: Of that axis.
        log: Whether it is logarithmic.
    """

    x: str = ""
    label: str = ""
    log: bool = False


@dataclass(frozen=True)
class Ablation:
    """A whole ablation; see the module."""

    name: str
    title: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    output_dir: Path
    proxy: ProxySettings | None
    evaluate: tuple[Step, ...]
    metrics: dict[str, Metric]
    report: tuple[str, ...]
    plot: Plot


def load_ablation(path: str | Path, options: Sequence[str] = ()) -> Ablation:
    """Read and check an ablation's YAML.

    Args:
        path: The file.
        options: "key=value" settings that override it, such as "seeds=5".

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: For what is wrong in it; says what is known.
    """
    content = OmegaConf.to_container(load_yaml(path, options), resolve=False)
    where = str(path)
    _check_keys(content, _KEYS, where)
    missing = [key for key in ("base", "arms", "output_dir") if not content.get(key)]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}: an ablation needs base, arms and output_dir.")
    arms = tuple(
        _arm(name, spec, content, where, section == "reference")
        for section in ("reference", "arms")
        for name, spec in _mapping(content.get(section) or {}, f"{where}: {section}").items()
    )
    _check_arms(arms, where)
    proxy, evaluate, metrics = _evaluation(content, where)
    known = METRICS if proxy else tuple(metrics)
    report = tuple(content.get("report") or (("mean_recall", "tr_r1", "ir_r1") if proxy else known))
    for name in report:
        if name not in known:
            raise ValueError(f"{where}: report has the metric {name!r}, which is unknown{closest(name, known)}.")
    plot = _mapping(content.get("plot") or {}, f"{where}: plot")
    _check_keys(plot, [field.name for field in fields(Plot)], f"{where}: plot")
    return Ablation(
        name=Path(path).stem,
        title=content.get("title") or Path(path).stem,
        arms=arms,
        seeds=_seeds(content.get("seeds", 3), where),
        output_dir=Path(content["output_dir"]),
        proxy=proxy,
        evaluate=evaluate,
        metrics=metrics,
        report=report,
        plot=Plot(**plot),
    )


def _arm(name: str, spec, content: dict, where: str, is_reference: bool) -> Arm:
    here = f"{where}: arm {name!r}"
    own = dict(_mapping(spec or {}, here))
    steps = _steps(own.pop("prepare", content.get("prepare")) or [], here)
    on_top = _mapping(own.pop("prepare_options", {}), f"{here}: prepare_options")
    steps = tuple(Step(step.cfg_path, {**step.options, **on_top}) for step in steps)
    base = own.pop("base", content["base"])
    needs = OmegaConf.create({"file": own.pop("needs", "")}).file  # may name a variable of the environment
    shared = _mapping(content.get("overrides") or {}, f"{where}: overrides")
    for overrides in (shared, own):
        wrong = [key for key in overrides if str(key).split(".")[0] not in _SECTIONS]
        if wrong:
            known = closest(wrong[0], (*_SECTIONS, "base", "prepare", "prepare_options", "needs"))
            raise ValueError(f"{here} overrides {wrong[0]!r}; write run.KEY, model.KEY or datasets.KEY{known}.")
    return Arm(str(name), str(base), (shared, own), steps, is_reference, str(needs))


def _check_arms(arms: tuple[Arm, ...], where: str) -> None:
    slugs = [arm.slug for arm in arms]
    twins = [arm.name for arm in arms if slugs.count(arm.slug) > 1]
    if twins:
        raise ValueError(f"{where}: the arms {', '.join(map(repr, twins))} have one file name: rename one.")


def _evaluation(content: dict, where: str) -> tuple[ProxySettings | None, tuple[Step, ...], dict[str, Metric]]:
    """Proxy, or runs and metrics."""
    if bool(content.get("proxy")) == bool(content.get("evaluate")):
        raise ValueError(f"{where} needs either proxy or evaluate (with metrics): what arms are scored by.")
    if content.get("proxy"):
        if content.get("metrics"):
            raise ValueError(f"{where}: metrics belong to evaluate; the proxy's are {', '.join(METRICS)}.")
        return _proxy(_mapping(content["proxy"], f"{where}: proxy"), f"{where}: proxy"), (), {}
    metrics = {}
    for name, spec in _mapping(content.get("metrics") or {}, f"{where}: metrics").items():
        here = f"{where}: metrics.{name}"
        _check_keys(_mapping(spec, here), ("file", "key"), here)
        if set(spec) != {"file", "key"}:
            raise ValueError(f"{here} needs file (such as '{{output}}/eval/log.txt') and key (of a JSON line in it).")
        metrics[name] = Metric(**spec)
    if not metrics:
        raise ValueError(f"{where}: evaluate needs metrics: {{NAME: {{file: ..., key: ...}}}}, the numbers to read.")
    return None, _steps(content["evaluate"], f"{where}: evaluate"), metrics


def _proxy(spec: Mapping, where: str) -> ProxySettings:
    options = [field.name for field in fields(ProxyOptions)]
    _check_keys(spec, ("val", "similarity_weights", "feature_cache", *options), where)
    for needed in ("val", "similarity_weights"):
        if not spec.get(needed):
            raise ValueError(f"{where} needs {needed}: val is a source of true pairs, similarity_weights a BERT.")
    given = {
        name: float(spec[name]) if "rate" in name or "decay" in name else spec[name] for name in options if name in spec
    }
    return ProxySettings(
        val=dict(spec["val"]),
        similarity_weights=spec["similarity_weights"],
        feature_cache=spec.get("feature_cache") or "",
        options=ProxyOptions(**given),
    )


def _steps(specs, where: str) -> tuple[Step, ...]:
    if not isinstance(specs, list):
        raise ValueError(f"{where}: {specs!r} should be a list of {{cfg_path: YAML, options: {{KEY: VALUE}}}}.")
    steps = []
    for spec in specs:
        _check_keys(_mapping(spec, where), ("cfg_path", "options"), where)
        if not spec.get("cfg_path"):
            raise ValueError(f"{where}: a run lacks cfg_path, the YAML of a LAVIS run.")
        steps.append(Step(spec["cfg_path"], dict(_mapping(spec.get("options") or {}, f"{where}: options"))))
    return tuple(steps)


def _seeds(seeds, where: str) -> tuple[int, ...]:
    """3 stands for 0, 1, 2."""
    found = tuple(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds
    if not isinstance(found, (tuple, list)) or not found or not all(isinstance(seed, int) for seed in found):
        raise ValueError(f"{where}: seeds is {seeds!r}; give their number, 1 or more, or a list of whole numbers.")
    if len(set(found)) < len(found):
        raise ValueError(f"{where}: seeds {seeds} has one twice.")
    return tuple(found)


def _mapping(value, where: str) -> Mapping:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {value!r}; it should be a mapping.")
    return value


def _check_keys(content: Mapping, known, where: str) -> None:
    unknown = [key for key in content if key not in known]
    if unknown:
        raise ValueError("; ".join(f"{where}: unknown key {key!r}{closest(str(key), known)}" for key in unknown))
