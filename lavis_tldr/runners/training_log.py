"""A training's figures, row by row: ``training.csv``, the log, and TensorBoard where that is asked for."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from lavis_tldr.files import write_whole

logger = logging.getLogger(__name__)

FILE = "training.csv"


class TrainingLog:
    """Writes the mean of an update's figures since the last row.

    Args:
        folder: Where ``training.csv`` goes; of what is there already, rows after ``updates`` are dropped (a run that
            goes on from a checkpoint makes them again).
        updates: Updates made before.
        total: Updates that there will be.
        tensorboard: Write event files into ``folder``, too.

    Raises:
        ValueError: If TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, updates: int, total: int, tensorboard: bool = False):
        self.path, self.total, self._first = folder / FILE, total, updates
        self._rows = _rows_until(self.path, updates)
        self._started = time.monotonic()
        self._board = _event_writer(folder) if tensorboard else None

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row; ``updates`` in it says when it was.

        Columns that earlier rows lack are empty there.
        """
        self._rows.append({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()})
        names = list(dict.fromkeys(name for kept in self._rows for name in kept))
        new_columns = len(self._rows) == 1 or set(row) - set(self._rows[-2])
        if new_columns:
            _write(self.path, names, self._rows)
        else:
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, names, restval="", lineterminator="\n").writerow(self._rows[-1])
        if self._board is not None:
            for name, value in row.items():
                if name != "updates":
                    self._board.add_scalar(name, value, row["updates"])
        self._tell(row)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _tell(self, row: Mapping[str, float]) -> None:
        done = int(row["updates"])
        parts = [f"{name} {value:.4g}" for name, value in row.items() if name.startswith("loss") or name == "lr"]
        pace = (time.monotonic() - self._started) / max(done - self._first, 1)
        left = timedelta(seconds=round(pace * (self.total - done)))
        rate = f"{row['samples_per_second']:,.{0 if row['samples_per_second'] >= 10 else 2}f} pairs/s"
        logger.info("update %s of %s: %s, %s, %s left", f"{done:,}", f"{self.total:,}", ", ".join(parts), rate, left)


def _rows_until(path: Path, updates: int) -> list[dict[str, str]]:
    """Rows of earlier sessions, the file being cut to them."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["updates"]) <= updates]
    if not rows:
        path.unlink()
        return []
    _write(path, list(rows[0]), rows)
    return rows


def _write(path: Path, names: list[str], rows: list[dict]) -> None:
    with write_whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _event_writer(folder: Path):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            f"run.tensorboard is True, but TensorBoard can't be imported ({error}): `pip install tensorboard`, or "
            f"leave it out; {FILE} holds the same figures."
        ) from error
    return SummaryWriter(str(folder))
