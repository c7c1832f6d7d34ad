"""A reduction killed again and again, and taken up each time by another number of ranks, ends as one left alone."""

import json
import random
from collections import Counter
from itertools import cycle
from pathlib import Path

from lavis_tldr.tasks.stages import STAGES

SEED = 20231002
LEAST_KILLS, LEAST_PER_STAGE = 24, 2
_OF_TIMES_AND_PLACES = ("manifest.json", "summary.json", "config.yaml")


def results_of(run: Path) -> dict[str, bytes]:
    """Every file of a run folder that must not depend on how it came about, by its path."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in _OF_TIMES_AND_PLACES and not path.name.endswith(".note.json")
    }


def manifests_of(run: Path) -> dict[str, dict]:
    """What the manifests say, but for times."""

    def timeless(value):
        if isinstance(value, dict):
            return {key: timeless(entry) for key, entry in value.items() if key not in ("seconds", "rate")}
        return value

    return {
        str(path.relative_to(run)): timeless(json.loads(path.read_text()))
        for path in sorted(run.rglob("manifest.json"))
    }


def paths_of(run: Path) -> set[str]:
    """All files and folders, hidden ones too."""
    return {str(path.relative_to(run)) for path in run.rglob("*")}


class Killer:
    """Draws kill points, one life of a run folder after the other, and remembers what was done."""

    def __init__(self, reduce, alone):
        self.reduce = reduce
        self.draw = random.Random(SEED)
        self.ranks = cycle((1, 2, 4, 3))
        self.count: Counter = Counter()
        phases = [*alone.phases.items()]
        self.events = {phase: figures["events"] for phase, figures in phases}
        ends = [figures["began"] for _, figures in phases[1:]]
        self.seconds = {phase: end - figures["began"] for (phase, figures), end in zip(phases, ends, strict=False)}
        self.story: list[str] = []

    def live(self, config: Path) -> None:
        """One run folder from nothing to its end: each stage is killed at an event, some once more after a time."""
        self.story = []
        for phase in (name for name in STAGES if name in self.events):
            event = self.draw.randint(1, self.events[phase])
            assert not self.attempt(config, {"phase": phase, "event": event}), f"{phase} was not killed\n{self.told()}"
            if self.draw.random() < 0.5:
                rank, after = self.draw.random(), self.draw.uniform(0, self.seconds.get(phase, 0.02))
                if self.attempt(config, {"phase": phase, "after": after, "rank": rank}):
                    return
        assert self.attempt(config, None), self.told()

    def attempt(self, config: Path, kill: dict | None) -> bool:
        """Run, with the next number of ranks; whether it came to its end."""
        ranks = next(self.ranks)
        if kill and "rank" in kill:
            kill = {**kill, "rank": int(kill["rank"] * ranks)}
        outcome = self.reduce(config, ranks=ranks, kill=kill, linger=self.draw.choice((0, 0.02, 0.1)))
        self.story.append(f"{ranks} ranks, {kill}: {outcome.killed or outcome.statuses}")
        if outcome.killed:
            assert -9 in outcome.statuses, self.told()
            self.count[outcome.killed["phase"]] += 1
            return False
        assert outcome.succeeded, f"{self.told()}\n{outcome.log[-4000:]}"
        return True

    def told(self) -> str:
        return "\n".join([f"seed {SEED}; this run folder's story:", *self.story])


def test_killed_at_any_moment_and_resumed(forked_ranks, configure, tmp_path):
    alone = forked_ranks.reduce(configure("alone"))
    assert alone.succeeded, alone.log
    expected = [of(tmp_path / "alone") for of in (results_of, manifests_of, paths_of)]
    assert expected[0] and set(alone.phases) >= set(STAGES) - {"repair"}

    killer = Killer(forked_ranks.reduce, alone)
    while sum(killer.count.values()) < LEAST_KILLS or min(killer.count[name] for name in STAGES) < LEAST_PER_STAGE:
        run = tmp_path / f"life{len(list(tmp_path.glob('life*.yaml')))}"
        killer.live(configure(run.name))
        for of, before in zip((results_of, manifests_of, paths_of), expected, strict=True):
            after = of(run)
            different = sorted(name for name in {*before, *after} if name not in before or name not in after)
            if isinstance(before, dict):
                different += [name for name in before if name in after and before[name] != after[name]]
            assert not different, f"{of.__name__}: {different}\n{killer.told()}"
    print(dict(killer.count), sum(killer.count.values()))
