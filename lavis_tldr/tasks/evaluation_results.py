"""What evaluation tasks leave in a run's folder, where LAVIS's tasks leave it. The first process alone writes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavis.common.dist_utils import is_main_process
from lavis.common.registry import registry

from lavis_tldr.files import open_whole


def write_predictions(name: str, content: Any) -> Path:
    """Write ``result/<name>.json``, whole; every process is given its path.

    Args:
        name: Of the file.
        content: As JSON has it.
    """
    path = Path(registry.get_path("result_dir")) / f"{name}.json"
    if is_main_process():
        with open_whole(path) as file:
            file.write(json.dumps(content).encode())
    return path


def tell_figures(split: str, figures: Mapping[str, float]) -> None:
    """Add a line with a split's figures to ``evaluate.txt``."""
    if is_main_process():
        with open(Path(registry.get_path("output_dir")) / "evaluate.txt", "a", encoding="utf-8") as file:
            file.write(json.dumps({split: dict(figures)}) + "\n")
