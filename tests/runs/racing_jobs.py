"""Jobs that meet a dead job's lock at the same moment.

python racing_jobs.py FOLDER JOBS ROUNDS > how many of them got in, a line a round
"""

import json
import multiprocessing
import socket
import subprocess
import sys
from pathlib import Path

from lavis_tldr.runs.lock import HOLDER, run_lock


def race(folder: Path, rounds: int, together, got_in) -> None:
    """One of the jobs; who gets in stays there until every other one has tried."""
    for _ in range(rounds):
        together.wait()
        try:
            with run_lock(folder):
                with got_in.get_lock():
                    got_in.value += 1
                together.wait()
        except ValueError:
            together.wait()
        together.wait()  # the next round's dead lock is laid out


def main(folder: Path, jobs: int, rounds: int) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = json.dumps({"host": socket.gethostname(), "process": dead.pid})
    fork = multiprocessing.get_context("fork")
    together, got_in = fork.Barrier(jobs + 1, timeout=60), fork.Value("i", 0)
    racers = [fork.Process(target=race, args=(folder, rounds, together, got_in)) for _ in range(jobs)]
    for racer in racers:
        racer.start()
    for _ in range(rounds):
        (folder / HOLDER).write_text(left)
        got_in.value = 0
        together.wait()
        together.wait()
        print(got_in.value)
        together.wait()
    for racer in racers:
        racer.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
