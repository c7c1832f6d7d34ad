"""Parquet with the images inside, as Hugging Face ``datasets`` reads and writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lavis_tldr.exports.images import safe_name
from lavis_tldr.exports.pairs import Pair

# `datasets` reads a row group at a time.
MAX_GROUP_ROWS = 1000
MAX_GROUP_BYTES = 64 * 2**20

# A dataset card: it tells `datasets` which files of the folder are data, and which are not.
CARD_NAME, CARD = "README.md", '---\nconfigs:\n- config_name: default\n  data_files: "*.parquet"\n---\n'

_TEXTS = ("caption", "caption_original", "caption_generated", "caption_from")
_FEATURES = {
    "key": {"dtype": "string", "_type": "Value"},
    "image": {"_type": "Image"},
    **{name: {"dtype": "string", "_type": "Value"} for name in _TEXTS},
    "cluster": {"dtype": "int32", "_type": "Value"},
    "alignment": {"dtype": "float32", "_type": "Value"},
}
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        *((name, pa.string()) for name in _TEXTS),
        ("cluster", pa.int32()),
        ("alignment", pa.float32()),  # null where not scored
    ],
    # What makes the column an image for `datasets`, and not a struct.
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)


def write_parquet(pairs: Iterable[Pair], path: Path) -> int:
    """Write pairs with their images' original bytes, in row groups of at most 1000 pairs and about 64 MiB.

    Returns:
        The number of pairs.
    """
    count, size = 0, 0
    group: list[dict] = []
    # Images are compressed already, and a dictionary of them would only cost memory.
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=["caption_from"]) as writer:
        for pair in pairs:
            image = {"bytes": pair.image, "path": safe_name(pair.row["key"]) + pair.suffix}
            group.append({name: pair.row[name] for name in SCHEMA.names if name != "image"} | {"image": image})
            size += len(pair.image)
            if len(group) == MAX_GROUP_ROWS or size >= MAX_GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
                count += len(group)
                group, size = [], 0
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
    return count + len(group)
