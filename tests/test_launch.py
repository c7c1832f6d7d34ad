"""``python -m lavis_tldr.launch train.py``: a user's script as Python runs it, the plugin registered."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lavis_tldr
from lavis_tldr import launch

REPOSITORY = Path(lavis_tldr.__file__).parents[1]

# Imports in the order of LAVIS's own script, then what it would look up in the registry.
TRAIN_SCRIPT = """
import argparse, json, sys
import lavis.tasks as tasks
from lavis.common.config import Config
from lavis.common.registry import registry
from lavis.datasets.builders import *
from lavis.models import *
from lavis.runners import *
from lavis.tasks import *

parser = argparse.ArgumentParser()
parser.add_argument("--cfg-path", required=True)
print(json.dumps({
    "runner": registry.get_runner_class("runner_cpu").__module__,
    "cfg_path": parser.parse_args().cfg_path,
    "argv": sys.argv,
    "first_on_path": sys.path[0],
    "name": __name__,
}))
"""


def run_python(*arguments, cwd, **environment):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    return subprocess.run(
        [sys.executable, "-W", "ignore", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_runs_an_unmodified_train_script(tmp_path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "train.py").write_text(TRAIN_SCRIPT)
    launcher = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=1",
        "-m",
        "lavis_tldr.launch",
    ]
    done = run_python(*launcher, "checkout/train.py", "--cfg-path", "x.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {
        "runner": "lavis_tldr.runners.runner_cpu",
        "cfg_path": "x.yaml",
        "argv": ["checkout/train.py", "--cfg-path", "x.yaml"],
        "first_on_path": str(checkout),
        "name": "__main__",
    }


def test_uses_the_lavis_of_the_scripts_checkout(tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / "lavis").mkdir(parents=True)
    (checkout / "lavis/__init__.py").write_text("raise RuntimeError('the LAVIS of the checkout')")
    (checkout / "train.py").write_text("")
    done = run_python("-m", "lavis_tldr.launch", checkout / "train.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "RuntimeError: the LAVIS of the checkout" in done.stderr


def test_missing_script_is_one_line(capsys):
    assert launch.main(["no/train.py"]) == 2
    assert capsys.readouterr().err.startswith("lavis-tldr: error: there is no script 'no/train.py'")


@pytest.mark.parametrize(("argv", "status"), [([], 2), (["--help"], 0)])
def test_usage(capsys, argv, status):
    assert launch.main(argv) == status
    assert "usage:" in capsys.readouterr().out


def test_the_scripts_own_error_is_not_touched(tmp_path, monkeypatch):
    script = tmp_path / "train.py"
    script.write_text("raise ValueError('mine')")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    with pytest.raises(ValueError, match="mine"):
        launch.main([str(script)])
