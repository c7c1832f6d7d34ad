"""The import rule, read off the source: codebook, reduction, sources (no LAVIS) -> models, datasets, tasks,
runners -> train, ablation, advice, cli and its commands. report reads files alone, so it imports as little as
reduction.
torch.distributed only in models, tasks and runners.
"""

import ast
from importlib.util import resolve_name
from pathlib import Path

import pytest

import lavis_tldr

PACKAGE = Path(lavis_tldr.__file__).parent
PURE_ROOMS = {"codebook", "reduction", "sources"}
# Files on top of the rooms that the pure rooms may use, and which keep to the same rule.
PURE_FILES = {"files"}
LAVIS_ROOMS = {"models", "datasets", "tasks", "runners"}
REPORT = {"report"}
COMMANDS = {"train", "cli", "commands", "ablation", "advice", "launch", "doctor", "autoload", "__main__"}
DISTRIBUTED_ROOMS = {"models", "tasks", "runners"}
# LAVIS's wheel installs these as top-level packages.
STRAY_PACKAGES = {"app", "docs", "projects", "tests"}


def room_of(path: Path) -> str:
    """The room a source file lies in; for a file on top of the rooms its name if it is a pure file, else ""."""
    parts = path.relative_to(PACKAGE).parts
    if len(parts) > 1:
        return parts[0]
    return path.stem if path.stem in PURE_FILES else ""


def imported_names(source: str, package: str) -> set[str]:
    """Every module that the source imports anywhere, with `from a import b` as a and a.b.

    Relative imports are resolved from ``package``.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            module = resolve_name(module, package) if node.level else module
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def rooms_imported(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("lavis_tldr.")}


def uses(names: set[str], module: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for name in names)


def faults(room: str, source: str) -> list[str]:
    """What in a file of ``room`` breaks the rule."""
    names = imported_names(source, f"lavis_tldr.{room}".rstrip("."))
    found = []
    if room in PURE_ROOMS | PURE_FILES | REPORT:
        if uses(names, "lavis"):
            found.append("imports LAVIS")
        if later := rooms_imported(names) - PURE_ROOMS - PURE_FILES - ({room} & REPORT):
            found.append(f"imports from {sorted(later)}")
    elif room not in {"", *COMMANDS} and (later := rooms_imported(names) & COMMANDS):
        found.append(f"imports from {sorted(later)}")
    if room not in DISTRIBUTED_ROOMS and (uses(names, "torch.distributed") or "torch.distributed" in code_of(source)):
        found.append("uses torch.distributed")
    if room in {"reduction", *REPORT} and uses(names, "torch"):
        found.append("imports torch")
    if any(uses(names, stray) for stray in STRAY_PACKAGES):
        found.append("imports one of LAVIS's stray packages")
    return found


def code_of(source: str) -> str:
    """The source's attribute chains, such as torch.distributed.barrier; strings and comments left out."""
    return "\n".join(ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_keeps_to_the_rule(path):
    assert faults(room_of(path), path.read_text(encoding="utf-8")) == []


def test_rooms_are_the_designs():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == PURE_ROOMS | LAVIS_ROOMS | REPORT | {"commands", "ablation", "advice"}


@pytest.mark.parametrize(
    ("room", "source", "fault"),
    [
        ("codebook", "from lavis.models import BaseModel", "imports LAVIS"),
        ("reduction", "def f():\n    import lavis", "imports LAVIS"),
        ("sources", "from lavis_tldr import tasks", "imports from ['tasks']"),
        ("sources", "from lavis_tldr.models.captioner import X", "imports from ['models']"),
        ("sources", "from ..models import captioner", "imports from ['models']"),
        ("models", "import lavis_tldr.train", "imports from ['train']"),
        ("datasets", "import torch\ntorch.distributed.barrier()", "uses torch.distributed"),
        ("", "from torch import distributed", "uses torch.distributed"),
        ("reduction", "import torch", "imports torch"),
        ("report", "import torch", "imports torch"),
        ("report", "from lavis_tldr.tasks import summary", "imports from ['tasks']"),
        ("sources", "from lavis_tldr.report import units", "imports from ['report']"),
        ("files", "import lavis", "imports LAVIS"),
        ("tasks", "from app import main", "imports one of LAVIS's stray packages"),
    ],
)
def test_the_rule_finds_what_breaks_it(room, source, fault):
    assert faults(room, source) == [fault]


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("codebook", "from lavis_tldr.sources.record import Record"),
        ("reduction", "from .ledger import read_ledger"),
        ("sources", "from lavis_tldr.files import write_whole"),
        ("tasks", "import torch.distributed as dist\nimport lavis.tasks"),
        ("report", "from lavis_tldr.report.units import size"),
        ("commands", "from lavis_tldr.train import run"),
        ("", '"""python -m torch.distributed.run"""\nimport lavis'),
        ("sources", "from lavis_tldr.sources import keys  # lavis"),
    ],
)
def test_the_rule_lets_pass_what_keeps_to_it(room, source):
    assert faults(room, source) == []
