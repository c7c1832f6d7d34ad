"""The import rule, read off the source: a file may import from its own tier of rooms and from those below it.

torch.distributed appears only in models, stages, tasks and runners; LAVIS from the third tier on; torch not where
files alone are read.
"""

import ast
from importlib.util import resolve_name
from pathlib import Path

import pytest

import lavis_tldr
from lavis_tldr import registration

PACKAGE = Path(lavis_tldr.__file__).parent
# Each tier may use those before it. Names without a folder are files on top of the rooms.
TIERS = (
    {"files", "log", "progress", "skills", "user_errors"},
    {"codebook", "sources", "runs", "reduction"},
    {"exports", "scoring", "models", "datasets", "evaluation", "scenes", "keep_list", "config_keys"},
    {"stages"},
    {"tasks", "runners", "report"},
    {"advice", "ablation", "suite", "api", "commands", "train", "cli", "launch", "__main__"},
)
TIER_OF = {room: number for number, rooms in enumerate(TIERS) for room in rooms}
# Beside the tiers: what every module may use, and what uses none of them.
APART = {"registration", "environment"}
WITHOUT_LAVIS = {*TIERS[0], *TIERS[1], "report", "exports", "scenes", "keep_list"}
WITHOUT_TORCH = {*TIERS[0], "sources", "runs", "reduction", "report", "exports", "scenes", "keep_list"}
PURE = {"reduction": {"files"}, "runs": {"reduction", "sources", "files"}}
DISTRIBUTED = {"models", "stages", "tasks", "runners"}
# LAVIS's wheel installs these as top-level packages.
STRAY_PACKAGES = {"app", "docs", "projects", "tests"}


def room_of(path: Path) -> str:
    """The room a source file lies in; for a file on top of the rooms its name; "" for the package itself."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem.removeprefix("__init__")


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
    rooms = rooms_imported(names) - {room}
    found = []
    if room in WITHOUT_LAVIS and uses(names, "lavis"):
        found.append("imports LAVIS")
    if room in TIER_OF:
        allowed = PURE.get(room, {other for other, tier in TIER_OF.items() if tier <= TIER_OF[room]} | APART)
        if room in WITHOUT_LAVIS:
            allowed = allowed & WITHOUT_LAVIS
        if later := (rooms & TIER_OF.keys() | rooms & APART) - allowed:
            found.append(f"imports from {sorted(later)}")
    if room not in DISTRIBUTED and (uses(names, "torch.distributed") or "torch.distributed" in code_of(source)):
        found.append("uses torch.distributed")
    if room in WITHOUT_TORCH and uses(names, "torch"):
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


def test_every_room_has_its_tier():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert rooms | files == TIER_OF.keys() | APART


def test_rooms_that_import_each_other_with_those_that_register_are_known():
    """One of them imported by halves, while the plugin registers itself, would stop at the other half."""
    imports: dict[str, set[str]] = {}
    for path in PACKAGE.glob("*/*.py"):
        room = room_of(path)
        found = rooms_imported(imported_names(path.read_text(encoding="utf-8"), f"lavis_tldr.{room}"))
        imports[room] = imports.get(room, set()) | found

    def reached(rooms: set[str]) -> set[str]:
        more = rooms.union(*(imports.get(room, set()) for room in rooms))
        return rooms if more == rooms else reached(more)

    registered = set(registration.ROOMS)
    both_ways = {room for room in reached(registered) & imports.keys() if reached({room}) & registered}
    assert both_ways == registration.NEEDING_LAVIS


@pytest.mark.parametrize(
    ("room", "source", "fault"),
    [
        ("codebook", "from lavis.models import BaseModel", "imports LAVIS"),
        ("reduction", "def f():\n    import lavis", "imports LAVIS"),
        ("sources", "from lavis_tldr import tasks", "imports from ['tasks']"),
        ("sources", "from lavis_tldr.models.captioner import X", "imports from ['models']"),
        ("sources", "from ..models import captioner", "imports from ['models']"),
        ("reduction", "from lavis_tldr.runs import ledger", "imports from ['runs']"),
        ("exports", "from lavis_tldr.models import tokenizer", "imports from ['models']"),
        ("stages", "from lavis_tldr.tasks import reduce", "imports from ['tasks']"),
        ("models", "import lavis_tldr.train", "imports from ['train']"),
        ("datasets", "import torch\ntorch.distributed.barrier()", "uses torch.distributed"),
        ("train", "from torch import distributed", "uses torch.distributed"),
        ("reduction", "import torch", "imports torch"),
        ("report", "import torch", "imports torch"),
        ("report", "from lavis_tldr.tasks import summary", "imports from ['tasks']"),
        ("sources", "from lavis_tldr.report import wording", "imports from ['report']"),
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
        ("runs", "from .ledger import read_ledger"),
        ("sources", "from lavis_tldr.files import write_whole"),
        ("tasks", "import torch.distributed as dist\nimport lavis.tasks"),
        ("report", "from lavis_tldr.report.wording import size"),
        ("commands", "from lavis_tldr.train import run"),
        ("", '"""python -m torch.distributed.run"""\nimport lavis'),
        ("sources", "from lavis_tldr.sources import keys  # lavis"),
    ],
)
def test_the_rule_lets_pass_what_keeps_to_it(room, source):
    assert faults(room, source) == []
