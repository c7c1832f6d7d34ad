"""Pickles of plain values: lists, dicts, strings and numbers. Anything that a pickle could run is refused."""

import io
import pickle
from pathlib import Path
from typing import Any


class _PlainUnpickler(pickle.Unpickler):
    """Only names of classes and functions let a pickle run something: it gets none."""

    def find_class(self, module: str, name: str):
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid):
        raise pickle.UnpicklingError("it names an object outside it")


def read_plain_pickle(path: Path) -> Any:
    """The values of a pickle, of Python 2 as well, whose strings are bytes: UTF-8, else Latin-1.

    Raises:
        ValueError: If it is no pickle, or holds more than plain values; nothing of it is run.
    """
    content = path.read_bytes()
    try:
        try:
            return _PlainUnpickler(io.BytesIO(content), encoding="utf-8").load()
        except UnicodeDecodeError:
            return _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a broken pickle raises errors of any kind
        raise ValueError(
            f"{path} can't be read: {error}. Expected a pickle of nothing but lists, dicts, strings and numbers; take "
            "the file from its official place."
        ) from error
