"""One table of formats: light enough for ``--help``, and each with its writer."""

import subprocess
import sys

import pytest

from lavis_tldr.exports.formats import FORMATS, PartWriter, SetWriter, writer_of

# Modules of heavy packages that a process has once it has imported what is to be.
LOADED = """
import importlib, pkgutil, sys
for name in {names!r}:
    module = importlib.import_module(name)
    for inner in pkgutil.iter_modules(getattr(module, "__path__", ()), name + "."):
        if {all_of_it}: importlib.import_module(inner.name)
print(*sorted(sys.modules.keys() & {heavy!r}))
"""


def loaded(names, heavy, all_of_it=True):
    code = LOADED.format(names=names, heavy=heavy, all_of_it=all_of_it)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"LAVIS_TLDR_NO_REGISTER": "1", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize("format", FORMATS)
def test_each_has_a_writer(format):
    assert isinstance(writer_of(format), PartWriter | SetWriter)


def test_the_table_is_light():
    assert loaded(["lavis_tldr.exports.formats"], {"numpy", "pyarrow", "PIL", "lavis", "torch"}, False) == []


def test_exports_need_neither_lavis_nor_torch():
    names = [f"lavis_tldr.{name}" for name in ("exports", "sources", "scenes", "keep_list")]
    assert loaded(names, {"lavis", "torch", "pyarrow"}) == ["pyarrow"]
