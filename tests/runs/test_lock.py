import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lavis_tldr.runs.lock import HOLDER, clear_dead_lock, run_lock

RACE = Path(__file__).parent / "racing_jobs.py"
HOLD = """
import os, sys
from pathlib import Path
from lavis_tldr.runs.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("in", flush=True)
    {meanwhile}
"""
FORK = """child = os.fork()
    if child == 0:
        {child}
    {parent}"""


@pytest.fixture
def job(tmp_path):
    """Start a process that takes ``tmp_path`` and does this meanwhile; returns it once it is in."""
    jobs = []

    def start(meanwhile):
        command = [sys.executable, "-c", HOLD.format(meanwhile=meanwhile), str(tmp_path)]
        jobs.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=light()))
        assert jobs[-1].stdout.readline() == "in\n"
        return jobs[-1]

    yield start
    for started in jobs:
        started.kill()
        started.communicate()


def light():
    """An environment in which the package is imported without LAVIS."""
    return {**os.environ, "LAVIS_TLDR_NO_REGISTER": "1"}


def hold(folder, host, process):
    folder.mkdir(exist_ok=True)
    (folder / HOLDER).write_text(json.dumps({"host": host, "process": process}))


def test_the_lock_is_there_while_the_job_runs(tmp_path):
    with run_lock(tmp_path / "run"):
        held = json.loads((tmp_path / "run" / HOLDER).read_text())
        assert held == {"host": socket.gethostname(), "process": os.getpid()}
    assert list((tmp_path / "run").iterdir()) == []
    with pytest.raises(KeyError), run_lock(tmp_path / "run"):
        raise KeyError("a job that fails")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_living_job_is_not_disturbed(tmp_path, job):
    other = job("input()")
    with pytest.raises(ValueError, match=f"process {other.pid} on .* is at work in .*wait for it"), run_lock(tmp_path):
        pass
    clear_dead_lock(tmp_path)
    assert json.loads((tmp_path / HOLDER).read_text())["process"] == other.pid
    other.kill()
    other.wait()
    with run_lock(tmp_path):  # it has ended without giving the lock back
        assert json.loads((tmp_path / HOLDER).read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_one_process_holds_two_folders_but_none_twice(tmp_path):
    with run_lock(tmp_path / "run"), run_lock(tmp_path / "run/set"):
        for folder in (tmp_path / "run", tmp_path / "run/set"):
            with pytest.raises(ValueError, match=f"process {os.getpid()} on .*"), run_lock(folder):
                pass
            assert (folder / HOLDER).exists()
    assert list((tmp_path / "run").iterdir()) == [tmp_path / "run/set"]


def test_a_process_number_given_anew_is_no_living_job(tmp_path):
    """The dead job's number is now another program's: the number alone says nothing."""
    hold(tmp_path, socket.gethostname(), os.getppid())
    with run_lock(tmp_path):
        assert json.loads((tmp_path / HOLDER).read_text())["process"] == os.getpid()


def test_of_jobs_that_meet_a_dead_lock_one_gets_in(tmp_path):
    command = [sys.executable, str(RACE), str(tmp_path), "6", "300"]
    done = subprocess.run(command, capture_output=True, text=True, env=light(), timeout=120, check=True)
    assert done.stdout.split() == ["1"] * 300


def test_a_forked_process_that_ends_gives_nothing_back(tmp_path, job):
    """A worker of a data loader, say: the lock stays its parent's."""
    parent = "os.waitpid(child, 0); print('ended', flush=True); input()"
    other = job(FORK.format(child="sys.exit()", parent=parent))
    assert other.stdout.readline() == "ended\n"
    with pytest.raises(ValueError, match=f"process {other.pid} on .* is at work"), run_lock(tmp_path):
        pass


def test_a_forked_process_that_outlives_the_job_keeps_nothing(tmp_path, job):
    other = job(FORK.format(child="os.read(0, 1); os._exit(0)", parent="print('forked', flush=True); input()"))
    assert other.stdout.readline() == "forked\n"
    other.kill()
    other.wait()
    for _ in range(100):  # on a busy machine the fork may not have let go yet
        with suppress(ValueError), run_lock(tmp_path):
            assert json.loads((tmp_path / HOLDER).read_text())["process"] == os.getpid()
            return
        time.sleep(0.1)
    pytest.fail("the fork has kept the lock")


def test_a_job_elsewhere_may_still_run(tmp_path):
    hold(tmp_path, "another-machine", 1)
    for _ in range(2):
        with pytest.raises(ValueError, match="process 1 on another-machine is at work.*no longer runs there, delete"):
            run_lock(tmp_path).__enter__()
    clear_dead_lock(tmp_path)
    assert json.loads((tmp_path / HOLDER).read_text())["host"] == "another-machine"
    (tmp_path / HOLDER).unlink()
    with run_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "x"}'])
def test_a_lock_cut_short_is_taken_over(tmp_path, content):
    (tmp_path / HOLDER).write_text(content)
    with run_lock(tmp_path):
        assert json.loads((tmp_path / HOLDER).read_text())["process"] == os.getpid()
    assert not (tmp_path / HOLDER).exists()


@pytest.mark.parametrize("left", ["running.json", "running.lock"])
def test_what_a_killed_job_left_is_cleared(tmp_path, left):
    (tmp_path / left).write_text("")
    clear_dead_lock(tmp_path)
    assert list(tmp_path.iterdir()) == []
    clear_dead_lock(tmp_path / "no such folder")
    assert list(tmp_path.iterdir()) == []
