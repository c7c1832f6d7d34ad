"""The keys that a config may have under ``run:``. LAVIS passes over unknown ones, so typos do nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

# Read by LAVIS 1.0.2's runners and tasks, but missing from its own (unused) list of known keys; then ours.
_ALSO_READ_BY_LAVIS = {"amp", "beta2", "log_freq", "prompt", "report_metric", "resume_ckpt_path"}
_SET_AT_START = {"rank", "gpu", "dist_backend"}
RUN_KEYS: set[str] = _ALSO_READ_BY_LAVIS | _SET_AT_START | {"cache_root", "job_id"}


def register_run_keys(*names: str) -> None:
    """Make keys known under ``run:``. Tasks and runners call this in their module."""
    RUN_KEYS.update(names)


def known_run_keys(*classes: type | None) -> set[str]:
    """All known keys: LAVIS's, the registered ones, ``RUN_KEYS`` of the classes and of their modules."""
    from lavis.common.config import create_runner_config_validator

    known = RUN_KEYS | set(create_runner_config_validator().arguments)
    for cls in classes:
        for ancestor in cls.__mro__ if cls else ():
            known.update(getattr(sys.modules.get(ancestor.__module__), "RUN_KEYS", ()))
            known.update(vars(ancestor).get("RUN_KEYS", ()))
    return known


def check_run_keys(run: Mapping, known: Iterable[str]) -> None:
    """Raise ValueError naming each unknown key and the known keys closest to it."""
    known = sorted(known)
    unknown = [key for key in run if key not in known]
    if unknown:
        raise ValueError("; ".join(f"unknown key run.{key}{closest(key, known)}" for key in unknown))


def closest(name: str, known: Iterable[str]) -> str:
    """ " (did you mean 'max_epoch'?)" or, with nothing close, the list of what is known."""
    known = sorted(known)
    near = get_close_matches(str(name), known, n=3, cutoff=0.6)
    if near:
        return f" (did you mean {' or '.join(map(repr, near))}?)"
    return f" (known: {', '.join(known)})" if known else ""
