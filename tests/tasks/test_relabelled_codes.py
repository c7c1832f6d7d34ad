"""Code numbers are names: renumbering the codes changes neither clusters' members nor what is kept."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from lavis_tldr.reduction.code_tables import list_column, with_code_statistics
from lavis_tldr.reduction.run_folder import Stage
from lavis_tldr.sources import Part
from lavis_tldr.tasks.reduce_config import ReduceConfig
from lavis_tldr.tasks.stages import STAGES, encode
from lavis_tldr.tasks.stages.context import Context, write_table

NUM_CODES, NUM_PATCHES, WIDTH, PARTS, PART_SIZE = 40, 16, 8, 3, 60


def kept_keys(root, codes, codebook, **config):
    """Keys that the stages cluster and select keep of images with these codes."""
    parts = [Part(i, f"{i:05d}", "") for i in range(PARTS)]
    quantizer = SimpleNamespace(num_codes=NUM_CODES, codebook=torch.from_numpy(codebook))
    context = Context(
        root,
        ReduceConfig.from_run({"num_clusters": 6, "keep_ratio": 0.3, **config}),
        SimpleNamespace(source=SimpleNamespace(parts=parts)),
        SimpleNamespace(quantizer=quantizer, num_patches=NUM_PATCHES),
        "model",
        "cpu",
        as_made=("encode",),
    )
    stage = Stage(root, "encode", {}, {})
    stage.open()
    for part in parts:
        rows = codes[part.index * PART_SIZE : (part.index + 1) * PART_SIZE]
        keys = [f"{part.name}-{i:03d}" for i in range(PART_SIZE)]
        text = {name: keys for name in ("key", "image_key", "caption_original", "image_path")}
        number = {name: [0] * PART_SIZE for name in ("image_offset", "image_size")}
        usable = [True] * PART_SIZE
        lists = {"codes": list_column(rows, usable), "feature": list_column(np.zeros((PART_SIZE, 0), "f2"), usable)}
        table = pa.table({**text, **number, **lists, "error": [""] * PART_SIZE}).select(encode.SCHEMA.names)
        table = with_code_statistics(table.cast(encode.SCHEMA), rows, NUM_CODES)
        stage.write_part(part.name, lambda path, table=table: write_table(table, path), {"read": PART_SIZE})
    stage.finish({"read": PARTS * PART_SIZE}, 1.0)
    for name in ("cluster", "select"):
        stage = STAGES[name].stage_of(context)
        stage.open()
        STAGES[name].run(context, stage)
    tables = [context.load_part(stage, part.name, ["key", "kept"]) for part in parts]
    return {row["key"] for table in tables for row in table.to_pylist() if row["kept"]}


@pytest.mark.parametrize("config", [{}, {"tfidf": False}, {"representation": "embedding"}])
@pytest.mark.parametrize("seed", range(3))
def test_renumbered_codes_keep_the_same_samples(tmp_path, config, seed):
    rng = np.random.default_rng(seed)
    favoured = rng.integers(NUM_CODES, size=(9, 5))
    codes = favoured[rng.integers(9, size=PARTS * PART_SIZE)[:, None], rng.integers(5, size=(PARTS * PART_SIZE, 16))]
    codes = np.where(rng.random(codes.shape) < 0.8, codes, rng.integers(NUM_CODES, size=codes.shape)).astype(np.uint16)
    codebook = rng.normal(size=(NUM_CODES, WIDTH)).astype(np.float32)
    expected = kept_keys(tmp_path / "as_they_are", codes, codebook, **config)
    assert len(expected) == 54
    for number in range(3):
        names = rng.permutation(NUM_CODES).astype(np.uint16)
        renamed = np.empty_like(codebook)
        renamed[names] = codebook
        assert kept_keys(tmp_path / f"renamed{number}", names[codes], renamed, **config) == expected


def test_the_papers_index_vectors_do_change(tmp_path):
    """What the option ``index`` is warned of: the test above would see it."""
    rng = np.random.default_rng(0)
    codes = rng.integers(NUM_CODES, size=(PARTS * PART_SIZE, NUM_PATCHES)).astype(np.uint16)
    codebook = np.zeros((NUM_CODES, WIDTH), np.float32)
    names = rng.permutation(NUM_CODES).astype(np.uint16)
    first = kept_keys(tmp_path / "as_they_are", codes, codebook, representation="index")
    assert kept_keys(tmp_path / "renamed", names[codes], codebook, representation="index") != first
