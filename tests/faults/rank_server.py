"""Forks the ranks of reductions from a process that has LAVIS imported, which takes longer than a tiny reduction.

    python rank_server.py < jobs > results

A job and its result are a line of JSON each; `forked_ranks.ForkedRanks` writes and reads them.
"""

import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from itertools import count
from pathlib import Path

import torch
from kill_points import Tally, Watch

from lavis_tldr.registration import register
from lavis_tldr.train import main

_POLL = 0.001  # seconds
# Below the ports that the system gives to clients: nothing takes one between the look and rank 0's use of it.
_PORTS = range(20000, 32000)
_next_port = count(os.getpid() * 37)


def serve() -> None:
    register()
    torch.set_num_threads(1)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork of a process with threads may hang"
    results = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        results.write(json.dumps(run_job(json.loads(line))) + "\n")
        results.flush()


def run_job(job: dict) -> dict:
    """Fork the ranks, wait for them and kill what the job says; what became of each."""
    tally, (report, reporting) = Tally(), os.pipe()
    port = free_port()
    pids = []
    for rank in range(job["ranks"]):
        pid = os.fork()
        if pid == 0:
            run_rank(job, rank, port, tally, reporting)
        pids.append(pid)
    os.close(reporting)
    statuses, killed = wait(job, pids, tally)
    with os.fdopen(report) as lines:
        reports = [json.loads(line) for line in lines]
    return {"statuses": statuses, "killed": killed or next(iter(reports), None), "phases": tally.figures()}


def wait(job: dict, pids: list[int], tally: Tally) -> tuple[list[int], dict | None]:
    """Each rank's exit status (negative: the signal), and the kill by time, if it was done."""
    running = dict(enumerate(pids))
    statuses, killed, all_die_at = {}, None, time.monotonic() + job["limit"]
    while running:
        time.sleep(_POLL)
        now = time.monotonic()
        if killed is None and (kill := due(job["kill"], tally, now)) and kill["rank"] in running:
            os.kill(running[kill["rank"]], signal.SIGKILL)
            killed = {"phase": kill["phase"], "at": f"rank {kill['rank']} after {kill['after'] * 1000:.0f} ms"}
        for rank, pid in list(running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                statuses[rank] = os.waitstatus_to_exitcode(status)
                del running[rank]
                if statuses[rank] != 0:  # as torch.distributed.run does, if quicker
                    all_die_at = min(all_die_at, now + job["linger"])
        if now >= all_die_at:
            for pid in running.values():
                os.kill(pid, signal.SIGKILL)
    if killed and statuses[job["kill"]["rank"]] != -signal.SIGKILL:
        killed = None  # it had ended by itself
    return [statuses[rank] for rank in range(len(pids))], killed


def due(kill: dict | None, tally: Tally, now: float) -> dict | None:
    if not kill or "after" not in kill:
        return None
    began = tally.figures().get(kill["phase"], {}).get("began")
    return kill if began and now >= began + kill["after"] else None


def run_rank(job: dict, rank: int, port: int, tally: Tally, reporting: int) -> None:
    """The forked process: run the config as rank ``rank`` and exit."""
    status = 1
    try:
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if job["ranks"] > 1:
            group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job["ranks"], "MASTER_PORT": port}
            os.environ.update({key: str(value) for key, value in group.items()}, MASTER_ADDR="127.0.0.1")
        if job["file_size_limit"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size_limit"],) * 2)
        Watch(Path(job["run_folder"]), tally, job["kill"], reporting).start()
        options = ["--options", *job["options"]] if job["options"] else []
        status = main(["--cfg-path", job["config"], *options])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def free_port() -> int:
    while True:
        port = _PORTS[next(_next_port) % len(_PORTS)]
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


if __name__ == "__main__":
    serve()
