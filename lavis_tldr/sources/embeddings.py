"""Embeddings or scores of pairs that a user has, in files, found by key.

``.npy`` or ``.npz`` arrays with a list of keys, or Parquet tables with a column of keys. Arrays in ``.npy`` are read
where they lie, of a table one row group at a time; the keys are held in memory, with 16 bytes more each.

Shapes: N pairs, R rows of the files, E width of the embeddings.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.sources.source_files import content_digest, find_files
from lavis_tldr.user_errors import closest

IMAGES, TEXTS, SCORES = "images", "texts", "scores"
_WHERE = "run.embeddings"
_BLOCK = 2**18  # keys that are Python objects at once
# What of the files is named, by the setting that tells the kind: settings that must be, and settings that may be.
_KINDS = {
    "images": (("images", "texts", "keys"), ()),
    "tables": (("tables",), ("key", "image", "text")),
    "scores": (("scores", "column"), ("key",)),
}


class Embeddings(ABC):
    """Rows of embeddings or scores.

    Attributes:
        names: What each has: `IMAGES` and `TEXTS`, or `SCORES`.
        paths: The files.
        keys: (R,), large strings.
    """

    names: tuple[str, ...]
    paths: list[str]
    keys: pa.Array

    @abstractmethod
    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Some rows by name: (N, E) of embeddings, (N,) of scores, float32; NaN where there is none."""

    def find(self, keys: Sequence[str]) -> np.ndarray:
        """The row of each key, (N,), int64; -1 where there is none.

        Raises:
            ValueError: If the files have keys twice; says how many and the first.
        """
        return self._index.find(keys)

    @cached_property
    def digest(self) -> str:
        """Of the files' content (`content_digest`), in their order."""
        return blake2b("".join(map(content_digest, self.paths)).encode(), digest_size=16).hexdigest()

    @cached_property
    def _index(self) -> KeyIndex:
        return KeyIndex(self.keys)


def open_embeddings(config: Mapping) -> Embeddings:
    """The files that ``run.embeddings`` names.

    Args:
        config: ``{"images": FILE, "texts": FILE, "keys": FILE}`` of arrays and a text file with a key a line; or
            ``{"tables": path, glob or list}`` of Parquet tables with columns ``key``, ``image`` and ``text`` (settings
            of these names give them others); or ``{"scores": path, glob or list, "column": name}`` of tables with
            ready scores.

    Raises:
        ValueError: If a setting is missing or unknown, or what it names is not there or does not fit.
    """
    check_embeddings(config)
    if "images" in config:
        return _Arrays(config["images"], config["texts"], config["keys"])
    if "tables" in config:
        columns = {IMAGES: config.get("image", "image"), TEXTS: config.get("text", "text")}
        return _Tables(config["tables"], config.get("key", "key"), columns)
    return _Tables(config["scores"], config.get("key", "key"), {SCORES: config["column"]})


def check_embeddings(config: Mapping) -> None:
    """A ValueError where the settings themselves are not as `open_embeddings` takes them; no file is looked at."""
    kind = next((name for name in _KINDS if name in config), None)
    if kind is None:
        raise ValueError(
            f"{_WHERE} has {sorted(config)}; expected images, texts and keys (arrays and a list of keys), tables "
            "(Parquet with columns key, image and text), or scores and column (Parquet with a ready score)."
        )
    required, optional = _KINDS[kind]
    for name in config:
        if name not in (*required, *optional):
            raise ValueError(f"unknown key {_WHERE}.{name}{closest(name, (*required, *optional))}")
    for name in required:
        if not config.get(name):
            raise ValueError(f"{_WHERE} lacks {name!r}; with {kind} it needs {', '.join(required)}.")


class _Arrays(Embeddings):
    """Two arrays, a row a pair, and a file with their keys."""

    names = (IMAGES, TEXTS)

    def __init__(self, images: str, texts: str, keys: str):
        self.paths = [_file(images, "images"), _file(texts, "texts"), _file(keys, "keys")]
        with open(self.paths[2], encoding="utf-8") as file:
            text = file.read().removesuffix("\n")
        self.keys = pc.split_pattern(pa.array([text], pa.large_string()), "\n")[0].values if text else _no_keys()
        self._arrays = {IMAGES: _array(self.paths[0]), TEXTS: _array(self.paths[1])}
        for path, array in zip(self.paths[:2], self._arrays.values(), strict=True):
            if array.ndim != 2 or len(array) != len(self.keys):
                raise ValueError(
                    f"{path} has the shape {array.shape}; expected ({len(self.keys)}, E), a row for each key of "
                    f"{self.paths[2]}."
                )
        image_width, text_width = (array.shape[1] for array in self._arrays.values())
        if image_width != text_width:
            raise ValueError(
                f"{_WHERE}: images have {image_width} numbers and texts {text_width}: both must be of one space, such "
                "as CLIP's."
            )

    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.asarray(array[rows], np.float32) for name, array in self._arrays.items()}


class _Tables(Embeddings):
    """Parquet tables, taken one after the other."""

    def __init__(self, tables: str | Sequence[str], key: str, columns: Mapping[str, str]):
        self.paths = find_files(tables, f"{_WHERE} tables")
        self.names, self._columns = tuple(columns), dict(columns)
        keys: list[pa.Array] = []
        self._groups: list[tuple[str, int]] = []
        self._starts = [0]  # of the row groups, and the end
        for path in self.paths:
            with _open_table(path) as file:
                there = file.schema_arrow.names
                for name in (key, *columns.values()):
                    if name not in there:
                        raise ValueError(f"{_WHERE}: {path} has no column {name!r}{closest(name, there)}.")
                for group in range(file.num_row_groups):
                    found = file.read_row_group(group, columns=[key])[key].cast(pa.large_string())
                    keys += found.chunks
                    self._groups.append((path, group))
                    self._starts.append(self._starts[-1] + len(found))
        self.keys = pa.concat_arrays(keys) if keys else _no_keys()
        # Rows in the order of the source fall into few groups.
        self._read = lru_cache(maxsize=1)(self._read_group)

    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        shape = () if SCORES in self._columns else (self._width,)
        found = {name: np.full((len(rows), *shape), np.nan, np.float32) for name in self.names}
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(groups):
            places = np.flatnonzero(groups == number)
            for name, values in self._read(int(number)).items():
                found[name][places] = values[rows[places] - self._starts[number]]
        return found

    @cached_property
    def _width(self) -> int:
        """E, as the first embedding has it."""
        for number in range(len(self._groups)):
            if len(values := self._embeddings_of(number)[IMAGES]) and values.shape[1]:
                return values.shape[1]
        raise ValueError(f"{_WHERE}: {', '.join(self.paths)} hold no embedding in column {self._columns[IMAGES]!r}.")

    def _read_group(self, number: int) -> dict[str, np.ndarray]:
        if SCORES in self._columns:
            table, path = self._table_of(number)
            column = table[self._columns[SCORES]]
            if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
                raise ValueError(f"{_WHERE}: column {self._columns[SCORES]!r} of {path} is no number: {column.type}.")
            return {SCORES: column.cast(pa.float32(), safe=False).to_numpy()}
        found = self._embeddings_of(number)
        for name, values in found.items():
            if values.shape[1] not in (0, self._width):
                raise ValueError(
                    f"{_WHERE}: {self._groups[number][0]} has embeddings of {values.shape[1]} numbers in column "
                    f"{self._columns[name]!r}, and {self._width} are expected: images and texts must be of one space, "
                    "such as CLIP's."
                )
        empty = np.full((self._starts[number + 1] - self._starts[number], self._width), np.nan, np.float32)
        return {name: values if values.shape[1] else empty for name, values in found.items()}

    def _embeddings_of(self, number: int) -> dict[str, np.ndarray]:
        table, path = self._table_of(number)
        return {name: _rows(table[column], f"{column!r} of {path}") for name, column in self._columns.items()}

    def _table_of(self, number: int) -> tuple[pa.Table, str]:
        path, group = self._groups[number]
        with _open_table(path) as file:
            return file.read_row_group(group, columns=list(self._columns.values())), path


class KeyIndex:
    """Finds the rows of keys.

    Args:
        keys: (R,), large strings.

    Raises:
        ValueError: If keys are doubled; says how many and the first.
    """

    def __init__(self, keys: pa.Array):
        self._keys = keys
        hashes = np.concatenate([np.zeros(0, np.uint64), *(draw_priority(block, 0) for block in _blocks(keys))])
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        alike = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        same = pc.equal(keys.take(pa.array(self._order[alike])), keys.take(pa.array(self._order[alike + 1])))
        doubled = self._order[alike + 1][same.to_numpy(zero_copy_only=False)]
        if len(doubled):
            raise ValueError(
                f"{_WHERE}: {len(doubled)} rows have a key that came before (first: "
                f"{keys[int(doubled.min())].as_py()!r}); give each pair one row."
            )

    def find(self, keys: Sequence[str]) -> np.ndarray:
        """The row of each key, (N,), int64; -1 where there is none."""
        if not len(self._hashes):
            return np.full(len(keys), -1, np.int64)
        places = np.searchsorted(self._hashes, draw_priority(keys, 0)).clip(max=len(self._hashes) - 1)
        rows = self._order[places].astype(np.int64)
        same = pc.equal(self._keys.take(pa.array(rows)), pa.array(keys, pa.large_string()))
        return np.where(same.to_numpy(zero_copy_only=False), rows, -1)


def _blocks(keys: pa.Array) -> Iterator[list[str]]:
    return (keys.slice(start, _BLOCK).to_pylist() for start in range(0, len(keys), _BLOCK))


def _no_keys() -> pa.Array:
    return pa.array([], pa.large_string())


def _file(path: str, name: str) -> str:
    path = os.path.abspath(os.path.expanduser(str(path)))
    if not os.path.isfile(path):
        raise ValueError(f"{_WHERE}.{name}: there is no file {path}.")
    return path


def _array(path: str) -> np.ndarray:
    """The array in a file; of an ``.npz`` its only one."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{_WHERE}: {path} is no array as NumPy saves it ({error}).") from error
    if isinstance(found, np.ndarray):
        return found
    if len(found.files) != 1:
        raise ValueError(f"{_WHERE}: {path} holds the arrays {', '.join(found.files)}; expected one, (R, E).")
    return found[found.files[0]]


def _open_table(path: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{_WHERE}: {path} is no Parquet file ({error}).") from error


def _rows(column: pa.ChunkedArray, where: str) -> np.ndarray:
    """Lists of numbers, of one length, as (N, E), float32; NaN where one is null."""
    if not (
        pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type)
    ):
        raise ValueError(f"{_WHERE}: column {where} is no list of numbers: {column.type}.")
    known = column.is_valid().to_numpy()
    there = column.drop_null().combine_chunks()
    lengths = np.unique(pc.list_value_length(there).to_numpy(zero_copy_only=False))
    if len(lengths) > 1:
        raise ValueError(f"{_WHERE}: column {where} has embeddings of {lengths[0]} and of {lengths[-1]} numbers.")
    width = int(lengths[0]) if len(lengths) else 0
    found = np.full((len(known), width), np.nan, np.float32)
    found[known] = there.flatten().to_numpy(zero_copy_only=False).reshape(-1, width) if width else 0
    return found
