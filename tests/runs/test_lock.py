import json
import os
import socket
import subprocess
import sys

import pytest

from lavis_tldr.runs.lock import LOCK, run_lock


def hold(folder, host, process):
    folder.mkdir(exist_ok=True)
    (folder / LOCK).write_text(json.dumps({"host": host, "process": process}))


def test_the_lock_is_there_while_the_job_runs(tmp_path):
    with run_lock(tmp_path / "run"):
        held = json.loads((tmp_path / "run" / LOCK).read_text())
        assert held == {"host": socket.gethostname(), "process": os.getpid()}
    assert not (tmp_path / "run" / LOCK).exists()
    with pytest.raises(KeyError), run_lock(tmp_path / "run"):
        raise KeyError("a job that fails")
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_living_job_is_not_disturbed(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    hold(tmp_path, socket.gethostname(), other.pid)
    with pytest.raises(ValueError, match=f"process {other.pid} on .* is at work in .*wait for it"), run_lock(tmp_path):
        pass
    assert (tmp_path / LOCK).exists()
    other.communicate(b"\n")
    with run_lock(tmp_path):  # it has ended without giving the lock back
        assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()


def test_a_job_elsewhere_may_still_run(tmp_path):
    hold(tmp_path, "another-machine", 1)
    with pytest.raises(ValueError, match="on another-machine is at work.*no longer runs there, delete"):
        run_lock(tmp_path).__enter__()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "x"}'])
def test_a_lock_cut_short_is_taken_over(tmp_path, content):
    (tmp_path / LOCK).write_text(content)
    with run_lock(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()
    assert not (tmp_path / LOCK).exists()
