"""What the ranks have predicted, put together, and figures and predictions written where LAVIS's tasks write them."""

import json
import logging
from pathlib import Path

from lavis.common.dist_utils import is_main_process
from lavis.common.registry import registry

from lavis_tldr.files import open_whole
from lavis_tldr.models.collectives import from_all_ranks

logger = logging.getLogger(__name__)


def gather_by_key(rows: list[dict], key: str) -> list[dict]:
    """The rows of all ranks, on each of them, in order of the key.

    Where one is there twice, the first stays: a sampler may have padded the ranks' shares.
    """
    found: dict = {}
    for part in from_all_ranks(rows):
        for row in part:
            found.setdefault(row[key], row)
    return [found[one] for one in sorted(found)]


def write_predictions(rows: list, name: str) -> Path:
    """Write ``result/NAME.json`` of the run, once."""
    path = Path(registry.get_path("result_dir")) / f"{name}.json"
    if is_main_process():
        with open_whole(path) as file:
            file.write(json.dumps(rows).encode())
    return path


def tell_figures(split: str, figures: dict[str, float]) -> None:
    """Add a line to the run's ``evaluate.txt``, once."""
    if is_main_process():
        path = Path(registry.get_path("output_dir")) / "evaluate.txt"
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({split: figures}) + "\n")
