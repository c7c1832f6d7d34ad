"""What became of one sample, and why: its rows in the tables of every stage, and its standing in its cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lavis_tldr.report.key_lookup import closest_keys, find_key, keys_with_prefix
from lavis_tldr.report.recipe_account import recipe_account
from lavis_tldr.report.stage_rows import is_done, number_or_none, parts_of, row_in
from lavis_tldr.runs.reduced_sets import locate_run, shared_folders

_SOURCE = ("image_key", "caption_original", "error", "image_path", "image_offset", "image_size")
_MOST_KEYS = 5


def why(run: Path | str, key: str, name: str | None = None) -> dict:
    """Trace one sample through a run, as JSON can say it.

    Args:
        run: The run folder, or one recipe's folder in it.
        key: The sample's.
        name: Only this recipe; else all.

    Returns:
        ``run``; ``key``; ``source``: the record as it was read, with its ``part``; ``scores`` by name, those that were
        asked for; ``recipes``: a `recipe_account` by name.

    Raises:
        ValueError: If there is no such run, recipe or sample; names the closest keys.
    """
    root, names = locate_run(run, name)
    if not _is_text(key):
        raise ValueError(
            f"{key!r} is no valid text, so no sample can have it as its key: look at the shell's encoding."
        )
    # A ledger is smaller than what it was made from; one that is done holds every key.
    ledgers = [root / recipe / "ledger" for recipe in names if is_done(root / recipe / "ledger")]
    paths = parts_of((ledgers or [root / "encode"])[0])
    if not paths:
        raise ValueError(f"{root} has no records yet: `lavis-tldr inspect` says how far it has come.")
    place = find_key(paths, key)
    if place is None:
        so_far = "" if ledgers or is_done(root / "encode") else f" in the {len(paths):,} parts encoded so far"
        raise ValueError(f"{root} has no sample with key {key!r}{so_far}. {_hint(paths, key)}")
    source = {"part": place.path.stem, **place.read(_SOURCE)}
    scored = {}
    for stage, folder in shared_folders(root, names).items():
        if stage.startswith("score/"):
            scored |= row_in(folder, source["part"], key)
    scores = {column: number_or_none(value) for column, value in scored.items() if column != "key"}
    generated = row_in(root / "caption", source["part"], key).get("caption_generated", "")
    return {
        "run": str(root),
        "key": key,
        "source": source,
        "scores": {column: value for column, value in scores.items() if value is not None},
        "recipes": {recipe: recipe_account(root / recipe, key, source, generated) for recipe in names},
    }


def _hint(paths: Sequence[Path], key: str) -> str:
    """What the user may have meant."""
    if pairs := keys_with_prefix(paths, f"{key}#", _MOST_KEYS):
        return f"It is an image with several captions, each a sample of its own: {_listed(pairs)}."
    prefixed = [f"{path.stem}/{key}" for path in paths if find_key([path], f"{path.stem}/{key}")]
    if prefixed:
        return f"The source was read with key_prefix: true, so its keys begin with the tar's name: {_listed(prefixed)}."
    if closest := closest_keys(paths, key):
        return f"Closest keys: {_listed(closest)}."
    return (
        "Keys are those of the source: a tar's member names without suffix (TAR/KEY with key_prefix: true), or an "
        "annotation's image path (KEY#0, KEY#1, ... where an image has several captions)."
    )


def _listed(keys: Sequence[str]) -> str:
    more = ", ..." if len(keys) >= _MOST_KEYS else ""
    return ", ".join(repr(key) for key in keys[:_MOST_KEYS]) + more


def _is_text(key: str) -> bool:
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
