"""The keys that a config may have. LAVIS passes over unknown ones, so that typos do nothing without a word."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from lavis_tldr.user_errors import closest

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


def check_dataset_keys(name: str, given: Iterable[str], default: Iterable[str]) -> None:
    """Refuse a key of a dataset's config that LAVIS would pass over.

    Args:
        name: The dataset's.
        given: Keys of its config.
        default: Keys of its packaged default.

    Raises:
        ValueError: Naming the unknown key and the known ones closest to it.
    """
    known = {*default, "type"}
    for key in given:
        if key not in known:
            raise ValueError(f"unknown key datasets.{name}.{key}{closest(key, known)}")
