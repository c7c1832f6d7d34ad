"""Registers the plugin's models, datasets, tasks and runners with LAVIS: once, or not at all."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

NO_REGISTER = "LAVIS_TLDR_NO_REGISTER"
ROOMS = ("models", "datasets", "tasks", "runners")


def registration_is_off() -> bool:
    """Whether the environment asks that importing the package leave LAVIS alone."""
    return os.environ.get(NO_REGISTER) == "1"


def is_own_command() -> bool:
    """Whether this process is ``lavis-tldr ...`` or ``python -m lavis_tldr...``.

    While Python looks up the module of ``-m``, ``sys.argv[0]`` is the literal "-m" (documented in sys.argv).
    """
    program = sys.argv[0] if getattr(sys, "argv", None) else ""
    if program == "-m":
        command = sys.orig_argv
        module = command[command.index("-m") + 1] if "-m" in command[:-1] else ""
        return module.split(".")[0] == "lavis_tldr"
    return Path(program).stem == "lavis-tldr"


def register() -> None:
    """Register everything with LAVIS. Calling it again does nothing.

    Raises:
        ImportError: If LAVIS itself cannot be imported; the message says what is wrong and what to do.
            An error in one of this package's modules surfaces as it is.
    """
    _import_lavis()
    from lavis.common.registry import registry

    names_before = {kind: dict(names) for kind, names in registry.mapping.items()}
    modules_before = set(sys.modules)
    try:
        for room in ROOMS:
            importlib.import_module(f"lavis_tldr.{room}")
    except BaseException:
        # Without this a second attempt would stop at "already registered" and hide the first error.
        _forget(registry, names_before, modules_before)
        raise


def _import_lavis() -> None:
    try:
        import lavis  # noqa: F401
    except Exception as error:
        from lavis_tldr.environment.diagnosis import explain_import_error

        raise ImportError(explain_import_error(error)) from error


def _forget(registry, names_before: dict, modules_before: set[str]) -> None:
    for kind, names in registry.mapping.items():
        for name in set(names) - set(names_before.get(kind, {})):
            del names[name]
    for name in set(sys.modules) - modules_before:
        if name.startswith("lavis_tldr."):
            del sys.modules[name]
