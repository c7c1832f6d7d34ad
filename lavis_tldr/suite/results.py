"""Results as files: one JSON a checkpoint and evaluation, OUT/LABEL/ARCH_PROTOCOL_SEED/EVALUATION.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lavis_tldr.files import open_whole
from lavis_tldr.runs.manifest import changes, normalise

KIND = "lavis_tldr evaluation"
ZERO_SHOT, FINE_TUNED = "zero-shot", "fine-tuned"


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Attributes:
        evaluation: Its name.
        label: The checkpoint's, shared by those that differ in the seed alone.
        seed: Of its training; None if unknown.
        family, arch: What it is.
        protocol: `ZERO_SHOT` or `FINE_TUNED`.
        figures: By the title of the split and the figure's name.
        title: The evaluation's, in tables.
        reported: Those of the figures that tables show, as `evaluations.Figure` describes them.
        checkpoint: Path.
        digest: Of its content.
        settings: What decided the figures besides.
        initialisation: In words.
        account: What the training saw and took.
        seconds: That the evaluation took.
        device: That it ran on.
        kind: Tells such files from others.
    """

    evaluation: str
    label: str
    seed: int | None
    family: str
    arch: str
    protocol: str
    figures: dict[str, dict[str, float]]
    checkpoint: str
    digest: str
    settings: dict[str, Any]
    title: str = ""
    reported: list[dict[str, Any]] = field(default_factory=list)
    initialisation: str = ""
    account: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    device: str = ""
    kind: str = KIND


def result_folder(out: Path, label: str, arch: str, protocol: str, seed: int | None) -> Path:
    """Where the results of a checkpoint lie.

    Raises:
        ValueError: If the label can be no folder's name.
    """
    if not label or label.startswith(".") or "/" in label or "\\" in label:
        raise ValueError(f"--name {label!r} is to name a folder: give one without slashes and without a dot before it.")
    return out / label / f"{arch}_{protocol}_seed{'' if seed is None else seed}"


def write_result(path: Path, result: Result) -> None:
    """Write it whole or not at all."""
    with open_whole(path) as file:
        file.write((json.dumps(asdict(result), indent=1) + "\n").encode())


def read_result(path: Path) -> Result | None:
    """The result in a file; None if there is no such file, or it is of something else.

    Raises:
        ValueError: If it is damaged.
    """
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): delete it, and evaluate again.") from error
    if not isinstance(told, dict) or told.get("kind") != KIND:
        return None
    try:
        return Result(**told)
    except TypeError as error:
        raise ValueError(f"{path} was written by another version ({error}): delete it, and evaluate again.") from error


def collect(folders: Iterable[str | Path]) -> Iterator[Result]:
    """All results below the folders, in order of their paths.

    Raises:
        ValueError: If there is no such folder, or a result is damaged.
    """
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}: name what `lavis-tldr evaluate --out` wrote to.")
        for path in sorted(folder.glob("**/*_seed*/*.json")):
            result = read_result(path)
            if result is not None:
                yield result


def what_changed(before: Result, digest: str, settings: dict) -> list[str]:
    """Why a result does not stand: another checkpoint, or other settings; nothing where it does."""
    if before.digest != digest:
        return [f"another checkpoint ({before.checkpoint} before)"]
    return changes(before.settings, normalise(settings))
