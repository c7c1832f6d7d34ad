"""Ranks as threads of one process, for code that shares work out and gathers what came of it."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor


class ThreadedRanks:
    """Stands in for `lavis_tldr.models.collectives`; a rank that fails ends the others.

    Args:
        number: How many ranks.
    """

    def __init__(self, number: int):
        self.number = number
        self._met = threading.Barrier(number, timeout=60)
        self._own = threading.local()
        self._box: list = [None] * number

    def run(self, work: Callable) -> list:
        """What ``work(rank)`` gives on each of them."""

        def run_one(rank: int):
            self._own.rank = rank
            try:
                return work(rank)
            except BaseException:
                self._met.abort()
                raise

        with ThreadPoolExecutor(self.number) as pool:
            return list(pool.map(run_one, range(self.number)))

    def stand_in(self, patch, module) -> None:
        """Let a module use these ranks; ``patch`` is a MonkeyPatch."""
        for name in ("share", "from_all_ranks", "from_rank_zero", "get_world_size"):
            if hasattr(module, name):
                patch.setattr(module, name, getattr(self, name))

    def get_world_size(self) -> int:
        return self.number

    def share(self, items: Sequence) -> Sequence:
        return items[self._own.rank :: self.number]

    def from_all_ranks(self, value) -> list:
        self._box[self._own.rank] = value
        self._met.wait()
        found = list(self._box)
        self._met.wait()  # before anyone gives the next value
        return found

    def from_rank_zero(self, make: Callable):
        return self.from_all_ranks(make() if self._own.rank == 0 else None)[0]
