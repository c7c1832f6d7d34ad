"""Registers lavis_tldr with LAVIS as soon as a program has imported LAVIS.

`lavis-tldr enable` copies this file into site-packages, and every Python start there runs it: so it imports
nothing but what the interpreter has loaded by then, and does nothing until somebody imports `lavis`.
"""

import sys


class _AfterLavis:
    """Meta-path finder that lets others find `lavis` and registers the plugin once its `__init__` is through.

    That moment is right whatever a program imports first: `import lavis.tasks` runs all of `lavis/__init__`
    before anything else, so no LAVIS module is half loaded then, and no Config has been made.
    """

    def find_spec(self, name, path=None, target=None):
        if name != "lavis":
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                break
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader.exec_module = self._then_register(spec.loader.exec_module)
        return spec

    def _then_register(self, exec_module):
        def exec_module_then_register(module):
            exec_module(module)  # LAVIS's own errors pass as they are, and the next attempt is watched again
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                _register()

        return exec_module_then_register


def _register():
    import os

    # Whoever imported lavis_tldr already has registered it, or will.
    if "lavis_tldr" in sys.modules or os.environ.get("LAVIS_TLDR_NO_REGISTER") == "1":
        return
    try:
        import lavis_tldr  # noqa: F401
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"lavis_tldr is enabled here but was not registered: {reason}", file=sys.stderr)


if "lavis" not in sys.modules and not any(type(finder).__name__ == "_AfterLavis" for finder in sys.meta_path):
    sys.meta_path.insert(0, _AfterLavis())
