"""The states of all random generators of all processes, in plain values that a checkpoint can hold."""

from __future__ import annotations

import random

import numpy as np
import torch
from lavis.common.dist_utils import get_rank

from lavis_tldr.models.collectives import from_all_ranks


def generator_states() -> list[dict]:
    """States of Python's, NumPy's and torch's generators, one mapping a rank. Every rank must call it."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    own = {
        "python": [version, list(internal), gauss_next],
        "numpy": [kind, keys.tolist(), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }
    return from_all_ranks(own)


def restore_generators(states: list[dict]) -> None:
    """Put back this rank's states, of as many ranks as there were."""
    own = states[get_rank()]
    version, internal, gauss_next = own["python"]
    random.setstate((version, tuple(internal), gauss_next))
    kind, keys, *rest = own["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(own["torch"])
    if own["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(own["cuda"])
