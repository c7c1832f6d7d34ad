"""Runs a user's own, unmodified LAVIS ``train.py`` or ``evaluate.py`` with the plugin registered.

    python -m lavis_tldr.launch path/to/train.py --cfg-path ...
    python -m torch.distributed.run --nproc_per_node=N -m lavis_tldr.launch path/to/train.py --cfg-path ...

As with ``python path/to/train.py``, the script's folder comes first on the module path: in a LAVIS checkout
the checkout's own ``lavis`` is used.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from lavis_tldr.environment.openmp import wait_asleep
from lavis_tldr.registration import register
from lavis_tldr.user_errors import run_command

USAGE = "usage: python -m lavis_tldr.launch path/to/train.py [its arguments]"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script named first in ``argv`` with the rest as its arguments."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    wait_asleep()
    status = run_command(lambda: prepare(argv[0]))
    if status == 0:
        # Outside run_command: the script's own errors are shown as Python shows them.
        launch(argv)
    return status


def prepare(script: str) -> None:
    """Put the script's folder in front of the module path, and register with the LAVIS found from there.

    Raises:
        FileNotFoundError: If there is no such script.
        ImportError: If LAVIS cannot be imported.
    """
    path = Path(script)
    if not path.is_file():
        raise FileNotFoundError(f"there is no script {script!r} (looked in {Path.cwd()}). {USAGE}")
    # Under -m, sys.path[0] is the working directory; Python would have put the script's folder there.
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = str(path.resolve().parent)
    register()


def launch(argv: Sequence[str]) -> None:
    """Run ``argv[0]`` as ``__main__`` with ``sys.argv`` as Python would set it."""
    sys.argv[:] = list(argv)
    runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    raise SystemExit(main())
