"""Reductions by any number of ranks, forked from one warm process, and killed where a test says."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

import lavis_tldr

REPOSITORY = Path(lavis_tldr.__file__).parents[1]
SERVER = Path(__file__).with_name("rank_server.py")


@dataclass(frozen=True)
class Outcome:
    """What became of a reduction.

    Attributes:
        statuses: Exit status of each rank; negative: the signal that killed it.
        killed: ``{"phase": ..., "at": ...}`` where the job's kill was done, else None.
        phases: Events, and the second at which it began, of each phase entered.
        log: All that the ranks wrote to stdout and stderr.
    """

    statuses: list[int]
    killed: dict | None
    phases: dict[str, dict]
    log: str

    @property
    def succeeded(self) -> bool:
        return not any(self.statuses)


class ForkedRanks:
    """The server, started on the first job; ends with the with-block."""

    def __init__(self, folder: Path):
        self._log = folder / "ranks.log"
        self._server: subprocess.Popen | None = None

    def __enter__(self) -> "ForkedRanks":
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.stdin.close()
            self._server.kill()  # its own end would take seconds
            self._server.wait()
            self._server.stdout.close()

    def reduce(
        self,
        config: Path,
        *options: str,
        ranks: int = 1,
        kill: dict | None = None,
        linger: float = 0.0,
        file_size_limit: int = 0,
        limit: float = 600.0,
    ) -> Outcome:
        """Run a reduction as ``torch.distributed.run -m lavis_tldr.train`` would.

        Args:
            config: The run's YAML.
            *options: "key=value" settings that override it.
            ranks: Number of processes; one alone runs without a launcher.
            kill: As `kill_points.Watch` has it; with "after", "rank" says which rank dies.
            linger: Seconds that the others live on after one has died.
            file_size_limit: Bytes that a file may have (a disk that is full); 0 for no limit.
            limit: Seconds after which all are killed.
        """
        job = {
            "config": str(config),
            "options": list(options),
            "run_folder": yaml.safe_load(Path(config).read_text())["run"]["output_dir"],
            "ranks": ranks,
            "kill": kill,
            "linger": linger,
            "file_size_limit": file_size_limit,
            "limit": limit,
            "log": str(self._log),
        }
        self._log.unlink(missing_ok=True)
        self._server = self._server or _start_server()
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        result = json.loads(self._server.stdout.readline())
        return Outcome(**result, log=self._log.read_text(errors="replace") if self._log.exists() else "")


def _start_server() -> subprocess.Popen:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
        # A fork copies one thread only, so the server must have no other.
        "OMP_NUM_THREADS": "1",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
    }
    command = [sys.executable, "-W", "ignore", str(SERVER)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
