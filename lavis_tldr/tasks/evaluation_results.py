"""What evaluation tasks leave in a run's folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavis.common.dist_utils import is_main_process
from lavis.common.registry import registry


def write_results(name: str, split: str, epoch: int | str, content: Any, figures: Mapping[str, float]) -> None:
    """Write ``result/<name>_<split>_epoch<epoch>.json``, and append the figures to ``evaluate.txt`` as LAVIS does.

    On the first process alone; others do nothing.

    Args:
        name: Of the evaluation.
        split: Of the set.
        epoch: As a runner hands it over.
        content: Predictions, as JSON has them.
        figures: The evaluation's.
    """
    if not is_main_process():
        return
    path = Path(registry.get_path("result_dir")) / f"{name}_{split}_epoch{epoch}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with open(Path(registry.get_path("output_dir")) / "evaluate.txt", "a", encoding="utf-8") as file:
        file.write(json.dumps({split: dict(figures)}) + "\n")
