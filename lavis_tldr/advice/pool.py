"""A drawn sample of a finished set's pool: features, captions and standing of each pair, small enough for memory.

Shapes: n drawn samples, D and W feature widths.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lavis_tldr.advice.finished import FinishedSet, encoded_rows, encoder_of
from lavis_tldr.advice.selections import COLUMNS, Candidates
from lavis_tldr.reduction.draw import draw_rows


@dataclass(frozen=True)
class Pool:
    """Drawn pairs, in order of key.

    Attributes:
        candidates: As the selection knows them.
        image_keys: (n,), of the images; pairs of one image share it.
        captions: (n,), the original ones.
        alignment: (n,), NaN where not scored.
        features: Pooled features, (n, D), float32.
    """

    candidates: Candidates
    image_keys: np.ndarray
    captions: list[str]
    alignment: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.captions)


def draw_pool(finished: FinishedSet, size: int, seed: int) -> Pool:
    """At most ``size`` pairs of the pool, drawn by their keys."""
    keys_by_part = (finished.samples(name, ["key"])["key"].to_pylist() for name in finished.part_names)
    part, row, keys = draw_rows(keys_by_part, size, seed=seed)
    tables, features = [], []
    for number in np.unique(part):
        name = finished.part_names[number]
        columns = [*COLUMNS, "image_key", "caption_original", "alignment"]
        drawn = finished.samples(name, columns).take(row[part == number])
        tables.append(drawn)
        features.append(finished.features(name, drawn["key"]))
    table = pa.concat_tables(tables).append_column("row", pa.array(np.arange(len(keys)))).sort_by("key")
    order = table["row"].to_numpy()
    return Pool(
        Candidates.of(table),
        np.array(table["image_key"].to_pylist(), object),
        table["caption_original"].to_pylist(),
        table["alignment"].to_numpy(),
        np.concatenate(features)[order],
    )


@dataclass(frozen=True)
class Validation:
    """Images with captions that are known to fit.

    Attributes:
        features: Pooled features, (I, D), float32.
        captions: (T,).
        image_of: Row of each caption's image, (T,).
    """

    features: np.ndarray
    captions: list[str]
    image_of: np.ndarray


def encoded_pairs(run: Path, model_digest: str) -> Validation:
    """All pairs of a run folder that has come as far as encode.

    Args:
        run: The run folder.
        model_digest: Of the captioner that encoded the pool.

    Raises:
        ValueError: If there is no such run, another captioner encoded it, or it has no usable pair.
    """
    encode = Path(run) / "encode"
    found = encoder_of(encode)
    if found != model_digest:
        raise ValueError(
            f"{encode} was encoded by another captioner ({found[:12]}) than the pool ({model_digest[:12]}): encode it "
            "with the pool's."
        )
    rows, features = [], {}
    for path in sorted(encode.glob("[!.]*.parquet")):
        table = pq.read_table(path, columns=["key", "image_key", "caption_original"], filters=pc.field("error") == "")
        keys = table["image_key"].to_pylist()
        rows += zip(keys, table["caption_original"].to_pylist(), strict=True)
        features |= zip(keys, encoded_rows(path, "feature", table["key"], np.float16), strict=True)
    if not rows:
        raise ValueError(f"{encode} has no usable pair to validate on.")
    places = {key: place for place, key in enumerate(features)}
    return Validation(
        np.stack(list(features.values())).astype(np.float32),
        [caption for _, caption in rows],
        np.array([places[key] for key, _ in rows]),
    )
