"""A reduction killed again and again, and taken up each time by another number of ranks, ends as one left alone.

FAULT_SEED=n in the environment draws other moments.
"""

import json
import os
import random
from collections import Counter
from itertools import count, cycle
from pathlib import Path

from lavis_tldr.tasks import stages

STAGES = [name for name in stages.STAGES if name != "repair"]  # nothing is lost here
SEED = int(os.environ.get("FAULT_SEED", 20231002))
LEAST_KILLS, LEAST_PER_STAGE = 24, 2
TIMES_AND_PLACES = ("summary.json", "config.yaml")  # besides the notes


def test_killed_at_any_moment_and_resumed(forked_ranks, configure, tmp_path):
    alone = forked_ranks.reduce(configure("alone"))
    assert alone.succeeded, alone.log
    assert [phase for phase in alone.phases if phase in STAGES] == list(STAGES)
    expected = contents_of(tmp_path / "alone")

    killer = Killer(forked_ranks.reduce, alone.phases)
    for life in count():
        run = tmp_path / f"life{life}"
        killer.live(configure(run.name))
        found = contents_of(run)
        different = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        assert not different, f"{different}\n{killer.told()}"
        if sum(killer.kills.values()) >= LEAST_KILLS and min(killer.kills[name] for name in STAGES) >= LEAST_PER_STAGE:
            break


def contents_of(run: Path) -> dict:
    """All that lies in a run folder, hidden and empty things too, and what of it must not depend on its story."""

    def content(path: Path):
        if path.is_dir():
            return "a folder"
        if path.name == "manifest.json":
            return timeless(json.loads(path.read_text()))
        if path.name in TIMES_AND_PLACES or path.name.endswith(".note.json"):
            return "a file"
        return path.read_bytes()

    return {str(path.relative_to(run)): content(path) for path in run.rglob("*")}


def timeless(manifest):
    if isinstance(manifest, dict):
        return {key: timeless(value) for key, value in manifest.items() if key not in ("seconds", "rate")}
    return manifest


class Killer:
    """Draws when the next process dies, and remembers what it did.

    Args:
        reduce: `ForkedRanks.reduce`.
        phases: Those of an undisturbed run: how many events there are to choose from, and how much time.
    """

    def __init__(self, reduce, phases: dict[str, dict]):
        self.reduce = reduce
        self.draw = random.Random(SEED)
        self.ranks = cycle((1, 2, 4, 3))
        self.kills: Counter = Counter()
        self.story: list[str] = []
        self.events = {phase: figures["events"] for phase, figures in phases.items()}
        began = [figures["began"] for figures in phases.values()]
        ended = [*began[1:], began[-1] + 0.05]
        self.seconds = {p: end - start for p, start, end in zip(phases, began, ended, strict=True)}

    def live(self, config: Path) -> None:
        """A run folder from nothing to its end: every stage dies at an event, some once more after a time."""
        self.story = []
        for stage in STAGES:
            event = self.draw.randint(1, self.events[stage])
            ended = self.attempt(config, {"phase": stage, "event": event})
            assert not ended, f"{stage} was to be killed\n{self.told()}"
            if self.draw.random() < 0.5:
                after = self.draw.uniform(0, self.seconds[stage])
                if self.attempt(config, {"phase": stage, "after": after, "rank": self.draw.random()}):
                    return
        assert self.attempt(config, None), self.told()

    def attempt(self, config: Path, kill: dict | None) -> bool:
        """Run with the next number of ranks; whether it came to its end."""
        ranks = next(self.ranks)
        if kill and "rank" in kill:
            kill = {**kill, "rank": int(kill["rank"] * ranks)}
        outcome = self.reduce(config, ranks=ranks, kill=kill, linger=self.draw.choice((0, 0.02, 0.1)))
        self.story.append(f"{ranks} ranks, {kill}: {outcome.killed or outcome.statuses}")
        if outcome.killed is None:
            assert outcome.succeeded, f"{self.told()}\n{outcome.log[-4000:]}"
            return True
        assert -9 in outcome.statuses, self.told()
        self.kills[outcome.killed["phase"]] += 1
        return False

    def told(self) -> str:
        return "\n".join([f"seed {SEED}; the story of this run folder:", *self.story])
