"""The keep-list of a reduced set: keys to apply to the original tars, which are not rewritten.

``keys.txt`` and ``keep_list.parquet`` are for anyone's tools. ``keep_list.arrow`` (the pairs, a batch a source
part) and ``keep_list.npy`` (where each is, by its key's hash) are what :class:`lavis_tldr.keep_list.KeepList`
maps into memory.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lavis_tldr.exports.finished_ledger import FinishedLedger
from lavis_tldr.exports.formats import OpenFile, SetWriter
from lavis_tldr.exports.pairs import FURTHER
from lavis_tldr.runs.stages import REPEATS
from lavis_tldr.sources.keys import clean_key
from lavis_tldr.sources.record import ImageLocation

KEYS, TABLE, PAIRS, INDEX = "keys.txt", "keep_list.parquet", "keep_list.arrow", "keep_list.npy"
KEY_PREFIX = b"key_prefix"  # in the schema of PAIRS: JSON true where keys begin "<part>/"
PART, TAR = b"part", b"tar"  # in the metadata of a batch of PAIRS: a part's name, and its tar if it is one
SCHEMA = pa.schema([(name, pa.string()) for name in ("key", "caption", "caption_original", "caption_generated")])


def key_hash(key: str) -> int:
    """64-bit hash of a key, the same on every machine."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")


def write_keep_list(
    parts: Iterable[tuple[str, pa.Table]],
    write: OpenFile,
    *,
    key_prefix: bool = False,
    further: Sequence[str] = (),
) -> int:
    """Write the four files of a keep-list.

    Memory: one part, and 40 bytes for each pair while the index is sorted.

    Args:
        parts: Name and kept ledger rows of each source part.
        write: Opens a file by its name, to be written whole or not at all (``Stage.write``).
        key_prefix: Whether the source was read with ``key_prefix``, so that keys are ``<part>/<key in tar>``.
        further: Columns of the rows besides that go into :data:`TABLE`, of ``pairs.FURTHER``; ``repeats`` goes into
            :data:`PAIRS` as well.

    Returns:
        The number of files.

    Raises:
        ValueError: If a key occurs twice.
    """
    hashes = array("Q")
    own = [(REPEATS, FURTHER[REPEATS])] if REPEATS in further else []
    schema = pa.schema([*SCHEMA, *own]).with_metadata({KEY_PREFIX: json.dumps(key_prefix)})
    table_schema = pa.schema([*SCHEMA, *((name, FURTHER[name]) for name in further)])
    names = (KEYS, TABLE, PAIRS, INDEX)
    with ExitStack() as stack:
        path = {name: stack.enter_context(write(name)) for name in names}
        with (
            open(path[KEYS], "w", encoding="utf-8", newline="\n") as keys,
            pq.ParquetWriter(path[TABLE], table_schema, compression="zstd") as table,
            pa.ipc.new_file(path[PAIRS], schema) as pairs,
        ):
            for name, rows in parts:
                if not rows.num_rows:
                    continue
                for key in rows["key"].to_pylist():
                    keys.write(clean_key(key) + "\n")  # as sources have it: one line
                    hashes.append(key_hash(key))
                table.write_batch(_batch(rows, table_schema))
                about = {PART: name.encode(), TAR: _tar_of(rows).encode()}
                pairs.write_batch(_batch(rows, schema), custom_metadata=about)
        index = _sorted_index(np.frombuffer(hashes, dtype=np.uint64))
        _refuse_doubled(index, path[PAIRS])
        with open(path[INDEX], "wb") as file:
            np.save(file, index, allow_pickle=False)
    return len(names)


def _write_set(ledger: FinishedLedger, caption: str, write: OpenFile, _: int) -> int:
    parts = ((part.name, part.kept_pairs(caption)) for part in ledger.parts)
    return write_keep_list(parts, write, key_prefix=ledger.key_prefix, further=ledger.further)


WRITER = SetWriter(_write_set)


def _batch(rows: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    (batch,) = rows.select(schema.names).cast(schema).combine_chunks().to_batches()
    return batch


def _tar_of(rows: pa.Table) -> str:
    """The tar that a part's images are in, "" if it is none."""
    first = ImageLocation(rows["image_path"][0].as_py(), rows["image_offset"][0].as_py())
    return first.path if first.offset >= 0 and not first.column else ""


def _sorted_index(hashes: np.ndarray) -> np.ndarray:
    """(2, N), uint64: the hashes in ascending order, and the row of each."""
    index = np.empty((2, len(hashes)), dtype=np.uint64)
    index[1] = np.argsort(hashes, kind="stable")
    np.take(hashes, index[1].view(np.int64), out=index[0])
    return index


def _refuse_doubled(index: np.ndarray, pairs: Path) -> None:
    same = np.flatnonzero(index[0, 1:] == index[0, :-1])
    if not len(same):
        return
    with pa.memory_map(str(pairs)) as file:
        keys = pa.ipc.open_file(file).read_all()["key"]
        for place in same:
            first, second = (keys[int(row)].as_py() for row in index[1, place : place + 2])
            if first == second:
                raise ValueError(
                    f"key {first!r} is kept twice: keys are identities, so the ledger is damaged. Run the stage "
                    "`ledger` again."
                )
