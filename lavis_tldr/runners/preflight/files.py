"""Files that a run would read stale, or look for on a hub that is out of reach."""

import filecmp
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from lavis.common.registry import registry

logger = logging.getLogger(__name__)

_HUB = "huggingface.co"


def check_files(cfg) -> None:
    """Refuse annotations of which LAVIS would read an older copy.

    LAVIS copies a local annotation file into its cache once, and never looks at the original again.

    Args:
        cfg: The run's LAVIS config.

    Raises:
        ValueError: If a copy and its original differ.
    """
    for name, dataset in cfg.datasets_cfg.items():
        annotations = (dataset.get("build_info") or {}).get("annotations") or {}
        for split, places in annotations.items():
            for original, copy in _pairs(places):
                if original.is_file() and copy.is_file() and not filecmp.cmp(original, copy, shallow=False):
                    raise ValueError(
                        f"datasets.{name}: LAVIS would train on {copy}, an older copy of {original} (split {split}). "
                        f"Delete the copy, or let build_info.annotations.{split}.storage be {original} itself."
                    )


def _pairs(places) -> Iterator[tuple[Path, Path]]:
    """Original and copy of each file of a split; a relative copy lies in LAVIS's cache."""
    listed = [places.get(name) or [] for name in ("url", "storage")]
    urls, storages = ([value] if isinstance(value, str) else list(value) for value in listed)
    root = Path(registry.get_path("cache_root") or "")
    return ((Path(url), root / storage) for url, storage in zip(urls, storages, strict=False))


@contextmanager
def hub_errors_explained(arch: str) -> Iterator[None]:
    """An error of fetching what a model is built from becomes one that says what to do.

    Args:
        arch: The model, for the message.

    Raises:
        ValueError: If a model hub, or a server of weights, could not be reached.
    """
    try:
        yield
    except OSError as error:
        if not isinstance(error, URLError) and _HUB not in str(error):
            raise
        raise ValueError(
            f"{arch} is built from files that are neither in a cache nor to be had from their server "
            f"({str(error).splitlines()[0]}). Without a network run `lavis-tldr offline --vocab vocab.txt --dir DIR` "
            "and set the variables that it prints (weights start random then), or copy the caches from a machine that "
            "has them (HF_HOME, TORCH_HOME)."
        ) from error
