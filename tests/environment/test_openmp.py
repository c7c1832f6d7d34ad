import os
import subprocess
import sys

import pytest

from lavis_tldr.environment.openmp import WAITING

MAINS = {
    "train": "from lavis_tldr.train import main; main(['--cfg-path', 'no such file'])",
    "launch": "from lavis_tldr.launch import main; main(['no such file'])",
    "cli": "from lavis_tldr.cli import main; main(['reduce', '--cfg-path', 'no such file'])",
}
PYTORCH = "import sys; assert 'torch' not in sys.modules, 'PyTorch came first'; import torch; torch.ones(2)"


def settings(code, **environment):
    """How OpenMP's threads wait in a process that runs this and then imports PyTorch, as its OpenMP tells it."""
    inherited = {name: value for name, value in os.environ.items() if name not in WAITING}
    environment = {**inherited, "OMP_DISPLAY_ENV": "VERBOSE", "LAVIS_TLDR_NO_REGISTER": "1", **environment}
    command = [sys.executable, "-c", f"{code}\n{PYTORCH}"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr
    pairs = (line.split("=") for line in told.splitlines() if "=" in line)
    found = {name.split("]")[-1].strip(): value.strip().strip("'") for name, value in pairs}
    if "GOMP_SPINCOUNT" not in found:
        pytest.skip("this PyTorch has another OpenMP than GNU's")
    return found["OMP_WAIT_POLICY"], found["GOMP_SPINCOUNT"]


@pytest.mark.parametrize("main", MAINS)
def test_threads_that_wait_do_not_spin(main):
    assert settings(MAINS[main]) == ("PASSIVE", "0")


def test_the_choice_of_the_environment_stands():
    assert settings(MAINS["train"], OMP_WAIT_POLICY="active")[0] == "ACTIVE"
    assert settings(MAINS["train"], GOMP_SPINCOUNT="7")[1] == "7"
