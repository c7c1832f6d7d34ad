"""``lavis-tldr enable``: after it, plain ``python train.py`` in a LAVIS checkout knows the plugin.

Two small files go into site-packages: a ``.pth`` line, which Python runs at every start, and the hook that it
imports (:mod:`lavis_tldr.environment.site_hook`). ``lavis-tldr disable`` removes both.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from lavis_tldr.files import write_whole

PTH_NAME = "lavis_tldr_autoload.pth"
HOOK_NAME = "_lavis_tldr_site_hook.py"

# One line, as .pth files require. Whatever goes wrong costs one line on stderr, not the interpreter's start.
_PTH_LINE = (
    "import sys; exec("
    "'try:\\n import _lavis_tldr_site_hook\\n"
    'except Exception as e:\\n print("lavis_tldr autoload is broken (lavis-tldr disable removes it):", e, '
    "file=sys.stderr)')\n"
)


def site_folder(folder: str | os.PathLike | None = None) -> Path:
    """The folder to use: ``folder``, or this Python's site-packages."""
    return Path(folder) if folder else Path(sysconfig.get_path("purelib"))


def enable(folder: str | os.PathLike | None = None) -> list[Path]:
    """Install the hook; doing so again refreshes it.

    Returns:
        The files written.

    Raises:
        ValueError: If the folder cannot be written to.
    """
    site = site_folder(folder)
    hook = Path(__file__).with_name("site_hook.py").read_text(encoding="utf-8")
    try:
        # The hook first: the .pth must never point at nothing.
        return [_write(site / HOOK_NAME, hook), _write(site / PTH_NAME, _PTH_LINE)]
    except OSError as error:
        raise ValueError(
            f"cannot write to {site} ({error.strerror}). Use a virtual environment, or start your script "
            "with `python -m lavis_tldr.launch`, which needs no change to Python's folders."
        ) from error


def disable(folder: str | os.PathLike | None = None) -> list[Path]:
    """Remove what :func:`enable` wrote. Returns the files removed; none if it was not enabled."""
    site = site_folder(folder)
    present = [path for path in (site / PTH_NAME, site / HOOK_NAME) if path.exists()]
    for path in present:
        path.unlink()
    return present


def is_enabled(folder: str | os.PathLike | None = None) -> bool:
    """Whether both files are there."""
    site = site_folder(folder)
    return (site / PTH_NAME).is_file() and (site / HOOK_NAME).is_file()


def _write(path: Path, text: str) -> Path:
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
