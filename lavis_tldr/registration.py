"""Registers the plugin's models, datasets, tasks and runners with LAVIS: once, when LAVIS comes to be used, or never.

Much of the package does without LAVIS (keep-lists, ledgers, reports, exports). So importing the package does not import
LAVIS; it waits until somebody does, or until a room of the package that builds on LAVIS is imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

NO_REGISTER = "LAVIS_TLDR_NO_REGISTER"
ROOMS = ("models", "datasets", "tasks", "runners")  # what these import at their top is registered
# Those that import from ROOMS and that ROOMS import from: none of them can be imported by halves.
NEEDING_LAVIS = frozenset({*ROOMS, "stages", "scoring", "evaluation"})


class LavisImportError(ImportError):
    """LAVIS cannot be imported; the message says why and what to do."""


def register_when_needed() -> None:
    """Register at once where LAVIS is imported already, else as soon as it is, or as one of `NEEDING_LAVIS` is.

    Does nothing where the environment asks that importing the package leave LAVIS alone (`NO_REGISTER`).

    Raises:
        LavisImportError: As `register`. Where LAVIS is not imported yet, it is that import which raises.
    """
    if os.environ.get(NO_REGISTER) == "1":
        return
    if sys.modules.get("lavis") is not None:
        register()
    elif not any(isinstance(finder, _OnFirstUse) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OnFirstUse())


def require_lavis() -> None:
    """Refuse to go on where LAVIS is not installed; does not import it.

    Raises:
        LavisImportError: If it is not there; says which extra to install.
    """
    if sys.modules.get("lavis") is None and find_spec("lavis") is None:
        from lavis_tldr.environment.diagnosis import explain_import_error

        raise LavisImportError(explain_import_error(ModuleNotFoundError("No module named 'lavis'", name="lavis")))


def register() -> None:
    """Register everything with LAVIS. Calling it again does nothing.

    Raises:
        LavisImportError: If LAVIS itself cannot be imported. An error in one of this package's modules surfaces as
            it is.
    """
    _import_lavis()
    with _all_or_nothing():
        for room in ROOMS:
            importlib.import_module(f"lavis_tldr.{room}")


class _OnFirstUse:
    """Meta-path finder that registers the plugin right after the first import of LAVIS or of a room that needs it.

    After that import, not within it: rooms import each other, and by then the one that was asked for is whole.
    """

    names = frozenset({"lavis", *(f"lavis_tldr.{room}" for room in NEEDING_LAVIS)})

    def find_spec(self, name, path=None, target=None):
        if name not in self.names:
            return None
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            run = _import_lavis_itself if name == "lavis" else _import_room
            spec.loader.exec_module = self._then_register(run, spec.loader.exec_module)
        return spec

    def _then_register(self, run: Callable, exec_module: Callable) -> Callable:
        def exec_module_then_register(module):
            if self not in sys.meta_path:  # looked up before another was imported, and imported after it
                return exec_module(module)
            sys.meta_path.remove(self)
            try:
                run(exec_module, module)
            except BaseException:
                sys.meta_path.insert(0, self)  # so that the next attempt tells the same
                raise

        return exec_module_then_register


def _import_lavis_itself(exec_module: Callable, module) -> None:
    with _explained():
        exec_module(module)
    register()


def _import_room(exec_module: Callable, module) -> None:
    _import_lavis()
    with _all_or_nothing():
        exec_module(module)
        register()


def _import_lavis() -> None:
    with _explained():
        import lavis  # noqa: F401


@contextmanager
def _explained() -> Iterator[None]:
    """An error of importing LAVIS becomes one that says what is wrong and what to do."""
    try:
        yield
    except LavisImportError:
        raise
    except Exception as error:
        from lavis_tldr.environment.diagnosis import explain_import_error

        raise LavisImportError(explain_import_error(error)) from error


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    """Forget what was registered before an error: a second attempt would stop at "already registered" and hide it."""
    from lavis.common.registry import registry

    names_before = {kind: dict(names) for kind, names in registry.mapping.items()}
    modules_before = set(sys.modules)
    try:
        yield
    except BaseException:
        for kind, names in registry.mapping.items():
            for name in set(names) - set(names_before.get(kind, {})):
                del names[name]
        for name in set(sys.modules) - modules_before:
            if name.startswith("lavis_tldr."):
                del sys.modules[name]
        raise
