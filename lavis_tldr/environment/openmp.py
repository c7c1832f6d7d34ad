"""How PyTorch's threads wait for each other."""

from __future__ import annotations

import os

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # standard; of GNU's and of Intel's OpenMP


def wait_asleep() -> None:
    """Let OpenMP's threads sleep while they wait, rather than spin; before PyTorch is imported, which settles it.

    Spinning saves a few microseconds where every thread has a core of its own. Where other work shares the cores, a
    thread spins out its time slice while the one that it waits for has none: a training step of the tiny captioner took
    1.3 to 3.9 s on two cores that others kept busy, and 0.05 to 0.09 s without. Results do not depend on it, unlike on
    the number of threads, which stays as it is. A choice made in the environment stands.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "passive"
