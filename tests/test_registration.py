"""Registering happens once, or not at all, and hides no error."""

import sys

import pytest
from lavis.common.registry import registry

import lavis_tldr
from lavis_tldr import registration
from lavis_tldr.environment import diagnosis


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


@pytest.mark.parametrize(
    ("argv", "orig_argv", "own"),
    [
        (["/usr/bin/lavis-tldr", "doctor"], ["python", "/usr/bin/lavis-tldr", "doctor"], True),
        (["-m", "--cfg-path"], ["python", "-m", "lavis_tldr.train", "--cfg-path"], True),
        (["-m"], ["python", "-u", "-m", "lavis_tldr"], True),
        (["-m"], ["python", "-m", "other.module"], False),
        (["train.py"], ["python", "train.py"], False),
        ([""], ["python"], False),
    ],
)
def test_own_commands_are_recognised(monkeypatch, argv, orig_argv, own):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    assert registration.is_own_command() is own


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
        ({}, ModuleNotFoundError("no lavis", name="lavis"), "salesforce-lavis is not installed"),
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
