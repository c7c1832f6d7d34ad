"""What a reduction cost and what it saves: hours of devices, as trainings and stages recorded them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lavis_tldr.report.tables import markdown_table
from lavis_tldr.runs.stage_folder import MANIFEST

TRAINING = "training.json"  # `lavis_tldr.runners.training_record` writes it


@dataclass(frozen=True)
class Expense:
    """Hours that one training or stage took.

    Attributes:
        what: Such as "train codebook_captioner small" or "encode".
        where: Its folder.
        device: What it ran on; stages don't say.
        hours: Of all its processes together.
        pairs: Size of the set, or records read; 0 where that is not known.
        samples_seen: Of a training.
    """

    what: str
    where: str
    device: str
    hours: float
    pairs: int
    samples_seen: int = 0


def training_expense(folder: Path) -> Expense:
    """What a training took.

    Raises:
        ValueError: If the folder is none of a training that keeps account.
    """
    path = Path(folder) / TRAINING
    if not path.is_file():
        raise ValueError(
            f"{folder} has no {TRAINING}: name the folder of a training (run.output_dir/JOB) by runner_pretrain, "
            "runner_tldr or runner_cpu; stock runners and older trainings keep no account."
        )
    told = json.loads(path.read_text(encoding="utf-8"))
    what = " ".join(filter(None, ("train", told["arch"], told["model_type"])))
    return Expense(what, str(folder), told["device"], told["device_hours"], told["num_pairs"], told["samples_seen"])


def expenses(folder: Path) -> list[Expense]:
    """What a training took, or each finished stage of a run folder.

    Raises:
        ValueError: If the folder is neither.
    """
    folder = Path(folder)
    if (folder / TRAINING).is_file():
        return [training_expense(folder)]
    found = list(_stages(folder))
    if not found:
        raise ValueError(
            f"{folder} is neither a training's folder ({TRAINING}) nor a run folder with finished stages ({MANIFEST})."
        )
    return found


def _stages(folder: Path) -> Iterator[Expense]:
    for path in sorted(folder.rglob(MANIFEST)):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not manifest.get("done") or "seconds" not in manifest:
            continue
        # Processes share a stage's parts; what they do together is in its wall clock alone.
        in_parts = sum(part.get("seconds", 0.0) for part in manifest.get("parts", {}).values())
        hours = max(manifest["seconds"], in_parts) / 3600
        what = str(path.parent.relative_to(folder))
        yield Expense(what, str(path.parent), "", hours, int(manifest["counts"].get("read", 0)))


def balance(spent: Sequence[Expense], whole: Expense, reduced: Expense) -> dict:
    """What the reduction cost, what one pretraining on its set saves, and from how many on it pays.

    Args:
        spent: On the captioner and on reducing.
        whole, reduced: A pretraining on the whole and on the reduced set.

    Returns:
        ``spent_hours``, ``whole_hours``, ``reduced_hours``, ``saved_hours`` (of one pretraining), ``net_hours`` (of
        one, what was spent taken off), ``pays_from`` (pretrainings, None where none saves anything), ``same_samples``
        (whether both pretrainings saw as many pairs) and ``expenses``.

    Raises:
        ValueError: If the two are of unlike models or devices, or the first is not of the larger set.
    """
    if whole.what != reduced.what or whole.device != reduced.device:
        raise ValueError(
            f"{whole.where} is {whole.what} on {whole.device}, {reduced.where} is {reduced.what} on {reduced.device}: "
            "hours can be set against each other only of one model on one kind of device."
        )
    if whole.pairs <= reduced.pairs:
        raise ValueError(
            f"{whole.where} has {whole.pairs:,} pairs, {reduced.where} {reduced.pairs:,}: --whole names the "
            "pretraining on the larger set, --reduced the other."
        )
    total = sum(expense.hours for expense in spent)
    saved = whole.hours - reduced.hours
    return {
        "spent_hours": total,
        "whole_hours": whole.hours,
        "reduced_hours": reduced.hours,
        "saved_hours": saved,
        "net_hours": saved - total,
        "pays_from": max(math.ceil(total / saved), 1) if saved > 0 else None,
        "same_samples": whole.samples_seen == reduced.samples_seen,
        "expenses": [asdict(expense) for expense in spent],
    }


_HEADINGS = ["", "device", "device hours", "pairs"]


def spent_lines(spent: Sequence[Expense]) -> list[str]:
    """Expenses and their sum, as a table."""
    return markdown_table(_HEADINGS, _spent_rows([asdict(expense) for expense in spent]))


def account(told: dict) -> list[str]:
    """A balance in a table and words."""
    rows = _spent_rows(told["expenses"])
    rows += [[f"pretraining, {name}", "", _hours(told[f"{name}_hours"]), ""] for name in ("whole", "reduced")]
    return [*markdown_table(_HEADINGS, rows), "", *_words(told)]


def _spent_rows(spent: Sequence[dict]) -> list[list[str]]:
    rows = [[e["what"], e["device"], _hours(e["hours"]), f"{e['pairs']:,}" if e["pairs"] else ""] for e in spent]
    return [*rows, ["**spent**", "", _hours(sum(e["hours"] for e in spent)), ""]]


def _words(told: dict) -> list[str]:
    if told["same_samples"]:
        return [
            "Both pretrainings saw as many pairs, so they cost the same: what the reduced set gives is a better model, "
            "not hours. To see what it saves, compare pretrainings of the same epochs."
        ]
    if told["pays_from"] is None:
        return ["The pretraining on the reduced set took no less time than that on the whole set: nothing is saved."]
    share = told["saved_hours"] / told["whole_hours"]
    pays = "It pays with the first." if told["pays_from"] == 1 else f"It pays from pretraining {told['pays_from']} on."
    verb = "saves" if told["net_hours"] >= 0 else "costs"
    return [
        f"A pretraining on the reduced set takes {_hours(told['saved_hours'])} hours less ({share:.0%}). With what was "
        f"spent on reducing, one pretraining {verb} {_hours(abs(told['net_hours']))} hours. {pays}"
    ]


def _hours(hours: float) -> str:
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.3f}"
