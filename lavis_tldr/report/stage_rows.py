"""One sample's rows in the tables of a run's stages."""

from __future__ import annotations

import math
from pathlib import Path

from lavis_tldr.files import TEMPORARY_PREFIX
from lavis_tldr.report.key_lookup import find_key
from lavis_tldr.runs.reduced_sets import open_stage


def parts_of(folder: Path) -> list[Path]:
    """The Parquet parts of a stage that are whole, in the order of their names."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith(TEMPORARY_PREFIX))


def row_in(folder: Path, part: str, key: str) -> dict:
    """The sample's row in a stage's table of its part; empty where it has none, or the part is not made yet."""
    path = folder / f"{part}.parquet"
    place = find_key([path], key) if path.is_file() else None
    return place.read() if place else {}


def is_done(folder: Path) -> bool:
    stage = open_stage(folder)
    return stage is not None and stage.manifest["done"]


def config_of(folder: Path) -> dict:
    """The config that a stage was made with; empty where it has not begun."""
    stage = open_stage(folder)
    return {} if stage is None else stage.config


def number_or_none(value: float | None) -> float | None:
    """``value``, None for NaN, which JSON can't say."""
    return None if value is None or math.isnan(value) else value
