"""Parquet with the images inside, as Hugging Face ``datasets`` reads and writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lavis_tldr.exports.formats import PartWriter
from lavis_tldr.exports.images import safe_name
from lavis_tldr.exports.pairs import FURTHER, Pair

# `datasets` reads a row group at a time.
MAX_GROUP_ROWS = 1000
MAX_GROUP_BYTES = 64 * 2**20

# A dataset card: it tells `datasets` which files of the folder are data, and which are not.
CARD_NAME, CARD = "README.md", '---\nconfigs:\n- config_name: default\n  data_files: "*.parquet"\n---\n'

_TEXTS = ("caption", "caption_original", "caption_generated", "caption_from")
_FEATURE_KINDS = {pa.float32(): "float32"}  # as `datasets` calls it
_COLUMNS = {
    "key": pa.string(),
    "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    **dict.fromkeys(_TEXTS, pa.string()),
    "cluster": pa.int32(),
    "alignment": pa.float32(),  # null where not scored
}


def _schema(further: Sequence[str]) -> pa.Schema:
    columns = _COLUMNS | {name: FURTHER[name] for name in further}
    # What makes the column an image for `datasets`, and not a struct.
    kinds = {name: _FEATURE_KINDS.get(kind, str(kind)) for name, kind in columns.items()}
    features = {name: {"dtype": kind, "_type": "Value"} for name, kind in kinds.items()} | {"image": {"_type": "Image"}}
    return pa.schema(list(columns.items()), metadata={"huggingface": json.dumps({"info": {"features": features}})})


def write_parquet(pairs: Iterable[Pair], path: Path, further: Sequence[str] = ()) -> int:
    """Write pairs with further columns and images' original bytes, in row groups of at most 1000 pairs, about 64 MiB.

    Returns:
        The number of pairs.
    """
    schema = _schema(further)
    count, size = 0, 0
    group: list[dict] = []
    # Images are compressed already, and a dictionary of them would only cost memory.
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["caption_from"]) as writer:
        for pair in pairs:
            image = {"bytes": pair.image, "path": safe_name(pair.row["key"]) + pair.suffix}
            group.append({name: pair.row[name] for name in schema.names if name != "image"} | {"image": image})
            size += len(pair.image)
            if len(group) == MAX_GROUP_ROWS or size >= MAX_GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                count += len(group)
                group, size = [], 0
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
    return count + len(group)


WRITER = PartWriter(".parquet", write_parquet, {CARD_NAME: CARD})
