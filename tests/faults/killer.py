"""Runs that end when chance says so, drawn with a fixed seed."""

import os
import random
from collections import Counter
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

SEED = int(os.environ.get("FAULT_SEED", 20231002))


class Killer:
    """Draws when the next process dies, and remembers what it did.

    Args:
        reduce: Such as `ForkedRanks.reduce`.
        phases: Those of an undisturbed run: how many events there are to choose from, and how much time.
    """

    def __init__(self, reduce: Callable, phases: dict[str, dict]):
        self._reduce = reduce
        self._ranks = cycle((1, 2, 4, 3))
        self.draw = random.Random(SEED)
        self.kills: Counter = Counter()
        self.story: list[str] = []
        self.events = {phase: figures["events"] for phase, figures in phases.items()}
        began = [figures["began"] for figures in phases.values()]
        ended = [*began[1:], began[-1] + 0.05]
        self._seconds = {p: end - start for p, start, end in zip(phases, began, ended, strict=True)}

    def at_an_event(self, phase: str, num_events: int) -> dict:
        """Death at one of this many events."""
        return {"phase": phase, "event": self.draw.randint(1, num_events)}

    def after_a_time(self, phase: str) -> dict:
        """Death at some time in the phase."""
        return {"phase": phase, "after": self.draw.uniform(0, self._seconds[phase]), "rank": self.draw.random()}

    def attempt(self, config: Path, kill: dict | None) -> bool:
        """Run with the next number of ranks; whether it came to its end.

        Raises:
            AssertionError: If it ended in another way than by the kill.
        """
        ranks = next(self._ranks)
        if kill and "rank" in kill:
            kill = {**kill, "rank": int(kill["rank"] * ranks)}
        outcome = self._reduce(config, ranks=ranks, kill=kill, linger=self.draw.choice((0, 0.02, 0.1)))
        self.story.append(f"{ranks} ranks, {kill}: {outcome.killed or outcome.statuses}")
        if outcome.killed is None:
            assert outcome.succeeded, f"{self.told()}\n{outcome.log[-4000:]}"
            return True
        assert -9 in outcome.statuses, self.told()
        self.kills[outcome.killed["phase"]] += 1
        return False

    def told(self) -> str:
        return "\n".join([f"FAULT_SEED={SEED}; the story of this run folder:", *self.story])
