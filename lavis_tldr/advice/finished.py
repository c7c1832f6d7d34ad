"""A finished set as the advisor reads it: its ledger beside what was encoded, part by part."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from lavis_tldr.report.captions import threshold_of
from lavis_tldr.report.lookup import config_of
from lavis_tldr.runs.code_tables import codebook_size, rows_of
from lavis_tldr.runs.ledger import ledger_parts
from lavis_tldr.runs.reduced_sets import CONFIG, find_set, stage_folders
from lavis_tldr.runs.stage_folder import Stage


class FinishedSet:
    """A reduced set whose ledger is finished.

    Args:
        run: The run folder, or the set's folder in it.
        name: The set, where the run has several.

    Attributes:
        folder: The set's.
        part_names: Of the ledger, in order.
        selection: Config of the stage select.
        clusters: Folder of the stage cluster.
        num_clusters: C.
        num_codes: K.
        aligned_from: Alignment from which a caption counts as fitting; None where nothing says so.

    Raises:
        ValueError: If there is no such set, or it is not finished.
    """

    def __init__(self, run: Path | str, name: str | None = None):
        self.folder = Path(os.path.abspath(find_set(run, name)))
        folders = stage_folders(self.folder)
        for stage in ("select", "ledger"):
            Stage.as_made(self.folder, stage)
        self._ledger = {path.stem: path for path in ledger_parts(self.folder)}
        self._encode = folders["encode"]
        self.part_names = list(self._ledger)
        self.selection = config_of(folders["select"])
        self.clusters = folders["cluster"]
        self.num_clusters = config_of(self.clusters)["num_clusters"]
        self.num_codes = codebook_size(self._encoded(self.part_names[0]))
        self.aligned_from = threshold_of(self.folder)

    def samples(self, part_name: str, columns: Sequence[str]) -> pa.Table:
        """Columns of a ledger part's usable records, sorted by key."""
        return pq.read_table(self._ledger[part_name], columns=list(columns), filters=pc.field("error") == "")

    def codes(self, part_name: str, keys: pa.ChunkedArray) -> np.ndarray:
        """Codes of some samples of a part, in the order of ``keys``, (n, L), uint16."""
        return encoded_rows(self._encoded(part_name), "codes", keys, np.uint16)

    def features(self, part_name: str, keys: pa.ChunkedArray) -> np.ndarray:
        """Their pooled features, (n, D), float32."""
        return encoded_rows(self._encoded(part_name), "feature", keys, np.float16).astype(np.float32)

    def _encoded(self, part_name: str) -> Path:
        return self._encode / f"{part_name}.parquet"

    def sentence_weights(self) -> str:
        """The sentence encoder that the set's config names; "" where it names none."""
        path = self.folder / CONFIG
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return settings.get("run", {}).get("similarity_weights") or ""

    @property
    def model_digest(self) -> str:
        """Digest of the captioner that encoded the images."""
        return encoder_of(self._encode)


def encoder_of(encode: Path) -> str:
    """Digest of the captioner that a stage encode was made with.

    Raises:
        ValueError: If the stage is not finished.
    """
    return Stage.as_made(encode.parent, encode.name).inputs["model"]


def encoded_rows(path: Path, column: str, keys: pa.ChunkedArray, dtype: type) -> np.ndarray:
    """What a part of encode has of some usable samples, in the order of ``keys``, (n, W).

    Raises:
        ValueError: If it lacks one of them.
    """
    table = pq.read_table(path, columns=["key", column], filters=pc.field("error") == "")
    places = pc.index_in(keys, value_set=table["key"].combine_chunks())
    if places.null_count:
        row = places.is_null().to_pylist().index(True)
        raise ValueError(
            f"{path} lacks {places.null_count} samples of the ledger (first: {keys[row].as_py()!r}): the ledger was "
            "made from other images. Run the reduction again from encode."
        )
    found = table[column].take(places)
    width = len(found[0]) if len(found) else 0
    return rows_of(pa.chunked_array(found), width, dtype) if width else np.zeros((len(keys), 0), dtype)
