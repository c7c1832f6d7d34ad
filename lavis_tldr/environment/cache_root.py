"""Where LAVIS keeps data sets and ground truth. LAVIS 1.0.2 hard-codes a folder of its authors' machines."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_ROOT = "LAVIS_CACHE_ROOT"


def cache_root(configured: str | os.PathLike | None = None) -> Path:
    """``configured`` (run.cache_root), else the environment's LAVIS_CACHE_ROOT, else ~/.cache/lavis."""
    chosen = configured or os.environ.get(CACHE_ROOT) or "~/.cache/lavis"
    return Path(chosen).expanduser().absolute()


def set_cache_root(configured: str | os.PathLike | None = None) -> Path:
    """Tell LAVIS to use :func:`cache_root`."""
    from lavis.common.registry import registry

    root = cache_root(configured)
    registry.mapping["paths"]["cache_root"] = str(root)
    return root
