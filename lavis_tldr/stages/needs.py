"""The files that a reduction reads besides its run folder, and whether they are there; none of them is opened."""

from collections.abc import Collection, Mapping
from pathlib import Path

from lavis_tldr.sources.source_files import find_files
from lavis_tldr.stages.reduce_config import ReduceConfig

_PATTERNS = ("tars", "annotations", "tables", "scores")  # of sources, and of embeddings
_MODEL_FILES = {
    "finetuned": "the captioner",
    "vit_weights": "its image encoder",
    "vocabulary": "its vocabulary",
}


def needs_of(config: ReduceConfig, model: Mapping, datasets: Mapping, stages: Collection[str]) -> list[dict]:
    """What some stages need.

    Args:
        config: Settings under ``run``.
        model: The ``model`` section, as its user gave it.
        datasets: The ``datasets`` section, likewise.
        stages: All that run or are made from.

    Returns:
        Of each need ``what`` it is, the ``setting`` that names it, its ``value`` ("" where none is named), whether it
        was ``found`` (None where that can't be seen from here) and a ``note``, which may be empty.
    """
    found = [
        _need(what, f"model.{name}", model.get(name) or "", Path.is_file)
        for name, what in _MODEL_FILES.items()
        if model.get(name) or name == "finetuned"
    ]
    if not model.get("load_finetuned"):
        found[0] = {**found[0], "found": False, "note": "it is loaded with model.load_finetuned: True alone"}
    found += _source("the source", "datasets.tldr_source.source", (datasets.get("tldr_source") or {}).get("source"))
    if config.embed_captions.intersection(stages):
        found.append(_sentence_encoder(config))
    if config.use_blip.intersection(stages):
        found.append(_need("BLIP", "run.blip_weights", config.blip_weights, Path.is_file))
    if "score" in stages and "normsim" in config.scorers and config.target:
        found += _source("target", "run.target", config.target)
    if "score" in stages and "given" in config.scorers:
        found += _embeddings(config.embeddings or {})
    if "score" in stages and config.uses_trusted:
        trusted = (datasets.get("tldr_captions") or {}).get("train")
        if trusted or config.needs_trusted:
            found += _source("trusted pairs", "datasets.tldr_captions.train", trusted)
        else:
            note = "none given, and it does without: the scorer then learns from the pool alone"
            found.append(_facts("trusted pairs", "datasets.tldr_captions.train", "", None, note))
    if config.feature_cache and "encode" in stages:
        found.append(_need("cached features", "run.feature_cache", config.feature_cache, Path.is_dir))
    return found


def _sentence_encoder(config: ReduceConfig) -> dict:
    need = _need("sentence encoder", "run.similarity_weights", config.similarity_weights, Path.is_dir)
    is_path = need["value"].startswith((".", "/", "~")) or need["value"].count("/") > 1  # a hub name has one at most
    if need["value"] and not need["found"] and not is_path:
        return {**need, "found": None, "note": "no such folder here: taken for a hub name"}
    return need


def _embeddings(files: Mapping) -> list[dict]:
    named = {name: files[name] for name in ("images", "texts", "keys") if files.get(name)}
    found = [_need("embeddings", f"run.embeddings.{name}", path, Path.is_file) for name, path in named.items()]
    return found or _source("embeddings", "run.embeddings", files)


def _source(what: str, setting: str, source: Mapping | None) -> list[dict]:
    source = source or {}
    found = []
    for name in (name for name in _PATTERNS if source.get(name)):
        patterns = source[name]
        shown = patterns if isinstance(patterns, str) else ", ".join(map(str, patterns))
        try:
            files = find_files(patterns, name)
            found.append(_facts(what, f"{setting}.{name}", shown, True, f"{len(files):,} files" * (len(files) > 1)))
        except ValueError as error:
            found.append(_facts(what, f"{setting}.{name}", shown, False, str(error).split(" (")[0]))
    for name in ("image_root", "root"):
        if source.get(name):
            found.append(_need(f"{what}: images", f"{setting}.{name}", source[name], Path.is_dir))
    return found or [_facts(what, setting, "", False, "")]


def _need(what: str, setting: str, value: str, is_there) -> dict:
    return _facts(what, setting, str(value), bool(value) and is_there(Path(str(value)).expanduser()), "")


def _facts(what: str, setting: str, value: str, found: bool | None, note: str) -> dict:
    return {"what": what, "setting": setting, "value": value, "found": found, "note": note}
