"""Says in plain words why LAVIS cannot be imported. Needs nothing but the standard library."""

from __future__ import annotations

import re
import sys
from importlib import metadata

from lavis_tldr import __version__

NUMPY_REMEDY = "pip install 'numpy<2'   (and add 'numpy<2' to every later pip install, which may pull it back in)"
FULL_INSTALL = (
    "pip install 'lavis_tldr[lavis]'   (in a checkout: pip install -e '.[lavis]'; [cpu] in place of [lavis] has Faiss "
    "without CUDA; Python 3.12: see requirements-py312.txt)"
)
TORCH_REMEDY = "pip install --upgrade --force-reinstall torch torchvision 'numpy<2'   (both from one index)"


def version_of(distribution: str) -> str | None:
    """Installed version of a distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def versions() -> str:
    """Versions of the package, of Python, and of LAVIS and torch where they are installed; none of them is imported."""
    found = [f"{name} {version_of(name) or 'not installed'}" for name in ("salesforce-lavis", "torch")]
    return ", ".join([f"lavis_tldr {__version__}", f"Python {sys.version.split()[0]}", *found])


def version_tuple(version: str) -> tuple[int, ...]:
    """Leading numbers of a version: "4.5.5.64" -> (4, 5, 5, 64), "2.13.0+cpu" -> (2, 13, 0)."""
    return tuple(int(part) for part in re.match(r"\d+(?:\.\d+)*", version).group().split("."))


def numpy_mismatch() -> str:
    """Why numpy and OpenCV do not go together, or "" if they do.

    OpenCV wheels before 4.10 were built on numpy 1 and stop at import under numpy 2.
    """
    numpy, opencv = version_of("numpy"), version_of("opencv-python-headless")
    if numpy and opencv and version_tuple(numpy) >= (2,) and version_tuple(opencv) < (4, 10):
        return f"numpy {numpy} is installed, but opencv-python-headless {opencv} was built on numpy 1"
    return ""


def explain_import_error(error: BaseException) -> str:
    """What is wrong and what to do, for an exception that ``import lavis`` raised."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "lavis":
        return f"salesforce-lavis is not installed in {sys.executable}, and this needs it. What to do: {FULL_INSTALL}"
    if numpy_mismatch():
        cause, remedy = numpy_mismatch(), NUMPY_REMEDY
    elif "torchvision::" in text or (isinstance(error, ImportError) and "torchvision" in text):
        cause = f"torch {version_of('torch')} and torchvision {version_of('torchvision')} do not match"
        remedy = TORCH_REMEDY
    elif isinstance(error, ModuleNotFoundError):
        cause = f"LAVIS needs the package {error.name!r}, which is not installed"
        remedy = FULL_INSTALL
    else:
        cause, remedy = "importing LAVIS failed", "`lavis-tldr doctor` checks the environment piece by piece"
    where = f"LAVIS cannot be imported in {sys.executable}"
    return f"{where}: {cause}.\n  What to do: {remedy}\n  The error was: {text}"
