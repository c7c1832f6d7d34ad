"""``lavis-tldr enable``: a hook at Python's start that registers the plugin once LAVIS is imported.

Most cases use stand-ins for LAVIS and the plugin, which print when they run; the import orders use real ones.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lavis_tldr
from lavis_tldr.environment import enable as autoload

REPOSITORY = Path(lavis_tldr.__file__).parents[1]


@pytest.fixture
def site(tmp_path):
    """A folder that Python treats like site-packages, with the hook enabled."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import site; site.addsitedir({str(folder)!r})")
    autoload.enable(folder)
    return folder


def run_python(site, code, *paths, **environment):
    path = os.pathsep.join(map(str, (site, *paths)))
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        cwd=site.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def stand_ins(tmp_path):
    """A ``lavis`` and a ``lavis_tldr`` that print when they run."""
    folder = tmp_path / "stand_ins"
    (folder / "lavis").mkdir(parents=True)
    (folder / "lavis/__init__.py").write_text("print('lavis starts'); import lavis.common; print('lavis done')")
    (folder / "lavis/common.py").write_text("")
    (folder / "lavis_tldr.py").write_text("import lavis.common; print('plugin')")
    return folder


def test_enable_twice_then_disable(tmp_path):
    assert not autoload.is_enabled(tmp_path)
    written = autoload.enable(tmp_path)
    assert autoload.enable(tmp_path) == written
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert autoload.is_enabled(tmp_path)
    assert sorted(autoload.disable(tmp_path)) == sorted(written)
    assert list(tmp_path.iterdir()) == []
    assert autoload.disable(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match=r"cannot write to .*lavis_tldr\.launch"):
        autoload.enable(tmp_path / "nowhere")


def test_pth_is_one_line(site):
    lines = (site / autoload.PTH_NAME).read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("import ")  # Python takes other lines for paths


def test_other_programs_load_nothing(site):
    code = "import json, sys; print([m for m in ('lavis', 'lavis_tldr', 'torch', 'numpy') if m in sys.modules])"
    done = run_python(site, code, REPOSITORY)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("code", ["import lavis", "import lavis.common", "from lavis import common"])
def test_registers_once_and_after_lavis(site, stand_ins, code):
    done = run_python(site, f"{code}; import lavis, lavis_tldr", stand_ins)
    assert done.stdout.split("\n") == ["lavis starts", "lavis done", "plugin", ""]
    assert done.stderr == ""


def test_importing_the_plugin_first_registers_once(site, stand_ins):
    done = run_python(site, "import lavis_tldr, lavis", stand_ins)
    assert done.stdout.split("\n") == ["lavis starts", "lavis done", "plugin", ""]


def test_looking_for_lavis_without_importing_it_changes_nothing(site, stand_ins):
    code = "import importlib.util; importlib.util.find_spec('lavis'); print('looked'); import lavis"
    done = run_python(site, code, stand_ins)
    assert done.stdout.split("\n") == ["looked", "lavis starts", "lavis done", "plugin", ""]


def test_switched_off_by_environment(site, stand_ins):
    done = run_python(site, "import lavis", stand_ins, LAVIS_TLDR_NO_REGISTER="1")
    assert "plugin" not in done.stdout


def test_a_lavis_that_fails_shows_its_own_error(site, stand_ins):
    (stand_ins / "lavis/__init__.py").write_text("raise OSError('disk on fire')")
    done = run_python(site, "import lavis", stand_ins)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("OSError: disk on fire")
    assert "lavis_tldr is enabled" not in done.stderr


def test_no_lavis_is_pythons_usual_error(site):
    done = run_python(site, "import sys; sys.path = [p for p in sys.path if 'site' in p][:1]; import lavis")
    assert done.stderr.strip().endswith("ModuleNotFoundError: No module named 'lavis'")


def test_a_plugin_that_fails_costs_one_line(site, stand_ins):
    (stand_ins / "lavis_tldr.py").write_text("raise ValueError('two\\nlines')")
    done = run_python(site, "import lavis; print('goes on')", stand_ins)
    assert done.returncode == 0
    assert done.stdout.endswith("goes on\n")
    assert done.stderr == "lavis_tldr is enabled here but was not registered: ValueError: two lines\n"


def test_a_broken_hook_does_not_stop_python(site):
    (site / autoload.HOOK_NAME).write_text("1 / 0")
    done = run_python(site, "print('started')")
    assert done.stdout == "started\n"
    assert done.stderr.count("\n") == 1
    assert "lavis-tldr disable" in done.stderr


@pytest.mark.parametrize(
    "first", ["import lavis", "from lavis.common.config import Config", "import lavis.tasks as tasks"]
)
def test_real_lavis_knows_the_plugin_whatever_is_imported_first(site, first):
    code = f"{first}\nfrom lavis.common.registry import registry\nprint(registry.get_runner_class('runner_cpu'))"
    done = run_python(site, code, REPOSITORY)
    assert done.stdout.strip() == "<class 'lavis_tldr.runners.runner_cpu.RunnerCPU'>", done.stderr[-2000:]
