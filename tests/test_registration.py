"""Registering happens once, or not at all, and hides no error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lavis.common.registry import registry

import lavis_tldr
from lavis_tldr import registration
from lavis_tldr.environment import diagnosis

REPOSITORY = Path(lavis_tldr.__file__).parents[1]


@pytest.fixture
def broken_room(tmp_path, monkeypatch):
    """A room whose module registers a runner and then fails."""
    (tmp_path / "broken_room.py").write_text(
        "from lavis.common.registry import registry\n"
        "@registry.register_runner('half_registered')\n"
        "class Runner: pass\n"
        "raise RuntimeError('the real reason')\n"
    )
    monkeypatch.setattr(lavis_tldr, "__path__", [*lavis_tldr.__path__, str(tmp_path)])
    monkeypatch.setattr(registration, "ROOMS", (*registration.ROOMS, "broken_room"))


def test_registering_again_changes_nothing():
    before = {kind: dict(names) for kind, names in registry.mapping.items()}
    registration.register()
    assert {kind: dict(names) for kind, names in registry.mapping.items()} == before


def test_the_real_error_surfaces_at_every_attempt(broken_room):
    for _attempt in range(2):
        with pytest.raises(RuntimeError, match="the real reason"):
            registration.register()
        assert registry.get_runner_class("half_registered") is None
    assert registry.get_runner_class("runner_cpu") is not None


def run_python(code, *paths, **environment):
    """Run code in a Python of its own, with these folders in front of its path; standard output, and the error."""
    path = os.pathsep.join(map(str, (*paths, REPOSITORY)))
    command = [sys.executable, "-W", "ignore", "-c", code]
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    "first",
    [
        "import lavis_tldr; from lavis.common.config import Config",
        "import lavis, lavis_tldr",
        "import lavis_tldr.stages.encode",  # which the tasks import, and which imports the models
        "from lavis_tldr.scoring.contrastive import fit_contrastive",
    ],
)
def test_registered_whatever_is_imported_first(first):
    code = (
        f"{first}\nimport sys, lavis_tldr.models; from lavis.common.registry import registry\n"
        "print(registry.get_runner_class('runner_cpu'), registry.get_task_class('tldr_reduce'))\n"
        "print(lavis_tldr.models is sys.modules['lavis_tldr.models'], lavis_tldr.models.codebook_captioner.__name__)"
    )
    out, error = run_python(code)
    assert out.splitlines() == [
        "<class 'lavis_tldr.runners.runner_cpu.RunnerCPU'> <class 'lavis_tldr.tasks.reduce.ReduceTask'>",
        "True lavis_tldr.models.codebook_captioner",
    ], error


def test_importing_what_does_without_lavis_does_not_import_it():
    code = (
        "import sys; from lavis_tldr.keep_list import KeepList; from lavis_tldr.runs.ledger import read_ledger\n"
        "from lavis_tldr.api import open_run; import lavis_tldr.exports.export, lavis_tldr.report.why\n"
        "print(sorted({'lavis', 'torch'} & set(sys.modules)))"
    )
    assert run_python(code) == ("[]\n", "")


@pytest.fixture
def broken_lavis(tmp_path):
    """A folder with a LAVIS that is installed, and fails."""
    (tmp_path / "lavis").mkdir()
    (tmp_path / "lavis/__init__.py").write_text("raise OSError('disk on fire')")
    return tmp_path


@pytest.mark.parametrize("needs_it", ["import lavis", "import lavis_tldr.models", "lavis_tldr.register()"])
def test_a_broken_lavis_is_explained_at_every_attempt(broken_lavis, needs_it):
    code = (
        "import lavis_tldr.keep_list\nfor attempt in range(2):\n"
        f"    try: {needs_it}\n    except ImportError as error: print(error)"
    )
    out, error = run_python(code, broken_lavis)
    assert error == ""
    assert out.count("LAVIS cannot be imported in") == out.count("The error was: OSError: disk on fire") == 2


def test_registration_can_be_switched_off(broken_lavis):
    code = "import lavis_tldr\ntry: import lavis\nexcept OSError as error: print(error)"
    assert run_python(code, broken_lavis, LAVIS_TLDR_NO_REGISTER="1") == ("disk on fire\n", "")


@pytest.mark.parametrize(
    ("versions", "error", "message"),
    [
        (
            {"numpy": "2.1.0", "opencv-python-headless": "4.5.5.64"},
            AttributeError("_ARRAY_API not found"),
            r"numpy 2\.1\.0 is installed, but .*numpy 1\.\n  What to do: pip install 'numpy<2'",
        ),
        (
            {"torch": "2.9", "torchvision": "0.20"},
            RuntimeError("operator torchvision::nms does not exist"),
            r"torch 2\.9 and torchvision 0\.20 do not match",
        ),
        (
            {},
            ModuleNotFoundError("no lavis", name="lavis"),
            r"^salesforce-lavis is not installed in \S+, and this needs it. What to do: pip install 'lavis_tldr\[lavis",
        ),
        ({}, ModuleNotFoundError("no cv2", name="cv2"), "LAVIS needs the package 'cv2'"),
        ({}, OSError("odd"), r"importing LAVIS failed.*\n.*doctor.*\n.*OSError: odd"),
    ],
)
def test_import_errors_are_explained(monkeypatch, versions, error, message):
    monkeypatch.setattr(diagnosis, "version_of", versions.get)
    explained = diagnosis.explain_import_error(error)
    with pytest.raises(ImportError, match=message):
        raise ImportError(explained)


def test_current_opencv_goes_with_numpy_2(monkeypatch):
    monkeypatch.setattr(diagnosis, "version_of", {"numpy": "2.1", "opencv-python-headless": "4.11.0.86"}.get)
    assert diagnosis.numpy_mismatch() == ""
