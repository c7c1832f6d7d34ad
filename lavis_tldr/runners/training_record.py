"""What a training took and saw: kept in its checkpoints, written beside them as ``training.json``, read by `cost`."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from lavis_tldr.files import open_whole

FILE = "training.json"
MANY_REPEATS = 10.0  # a pair's worth falls with each repetition; beyond about ten a larger share pays


@dataclass
class TrainingRecord:
    """Counts and times over all sessions of a training, without what a killed one did after its last checkpoint.

    Attributes:
        task, arch, model_type: What was trained.
        num_pairs: Size of the training set, repeated pairs counted as often.
        device: The device's name.
        num_processes, precision, batch_size: How it was trained; the batch is that of an update over all processes.
        updates, samples_seen: How far it came.
        seconds: Wall clock, by "train" (waiting for data included), "data" (waiting for data) and "evaluation".
    """

    task: str = ""
    arch: str = ""
    model_type: str = ""
    num_pairs: int = 0
    device: str = ""
    num_processes: int = 1
    precision: str = "float32"
    batch_size: int = 0
    updates: int = 0
    samples_seen: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "data": 0.0, "evaluation": 0.0})

    @property
    def repeats(self) -> float:
        """How often a pair was seen, on average."""
        return self.samples_seen / self.num_pairs if self.num_pairs else 0.0

    @property
    def device_hours(self) -> float:
        """Hours of all processes together."""
        return (self.seconds["train"] + self.seconds["evaluation"]) * self.num_processes / 3600

    def saw(self, samples: int, seconds: float, waited: float) -> None:
        """An update of ``samples`` pairs was made in ``seconds``, of which ``waited`` for data."""
        self.updates += 1
        self.samples_seen += samples
        self.seconds["train"] += seconds
        self.seconds["data"] += waited

    @contextmanager
    def counting(self, updates: int) -> Iterator[None]:
        """Count so many updates of whole batches, and the time that they take."""
        started = time.monotonic()
        yield
        self.updates += updates
        self.samples_seen += updates * self.batch_size
        self.seconds["train"] += time.monotonic() - started

    def progress(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"updates": self.updates, "samples_seen": self.samples_seen, "seconds": dict(self.seconds)}

    def go_on_from(self, progress: dict[str, Any]) -> None:
        self.updates, self.samples_seen = int(progress["updates"]), int(progress["samples_seen"])
        self.seconds = {**self.seconds, **progress["seconds"]}

    def write(self, folder: Path) -> None:
        """Write ``training.json``."""
        rate = self.samples_seen / self.seconds["train"] if self.seconds["train"] else 0.0
        told = {
            **asdict(self),
            "repeats": round(self.repeats, 3),
            "samples_per_second": round(rate, 2),
            "device_hours": round(self.device_hours, 5),
        }
        told["seconds"] = {name: round(seconds, 1) for name, seconds in self.seconds.items()}
        with open_whole(folder / FILE) as file:
            file.write((json.dumps(told, indent=1) + "\n").encode())


def device_name(device: torch.device) -> str:
    """What a device is called, such as "NVIDIA H100" or "cpu (x86_64)"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"
