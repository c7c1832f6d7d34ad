"""Sets of drawn codes as encode, score and gradient would have written them, clustered and selected from."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import torch

from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.runs.code_tables import list_column, with_code_statistics
from lavis_tldr.runs.stages import STAGES
from lavis_tldr.sources import Part
from lavis_tldr.sources.record import METADATA
from lavis_tldr.stages.context import Context, stage_module, write_table
from lavis_tldr.stages.reduce_config import ReduceConfig

WORDS = ["kite", "dog", "sea"]
NUM_CODES, NUM_PATCHES, WIDTH, NUM_SAMPLES = 40, 16, 8, 180
# One of each kind at least: draws, criteria, quotas, prefilters of both scopes, near duplicates of both kinds.
SELECTIONS = (
    {},
    {"selection": "random", "prefilter": "hard_sample"},
    {"quota": "density", "duplicate_threshold": 0.9},
    {"selection": "aligned", "prefilter": "large_distance", "prefilter_scope": "cluster"},
    {"selection": "large_distance", "quota": "density", "density_temperature": 0.02},
    {"selection": "hard_sample", "balance": 0.5, "duplicate_threshold": 0.9, "duplicate_by": "feature"},
    {"selection": "easy_sample", "balance": 0.0, "prefilter": "gradient"},
    {"selection": "gradient", "prefilter": "aligned"},
)


def drawn_codes(rng: np.random.Generator) -> np.ndarray:
    """Codes of images of nine kinds, some of them nearly the same, (N, L), uint16."""
    favoured = rng.integers(NUM_CODES, size=(9, 5))
    codes = favoured[rng.integers(9, size=NUM_SAMPLES)[:, None], rng.integers(5, size=(NUM_SAMPLES, NUM_PATCHES))]
    codes = np.where(rng.random(codes.shape) < 0.8, codes, rng.integers(NUM_CODES, size=codes.shape))
    copies = rng.integers(NUM_SAMPLES, size=(2, NUM_SAMPLES // 6))
    codes[copies[0]] = codes[copies[1]]
    return codes.astype(np.uint16)


def kept_keys(
    root: Path,
    codes: np.ndarray,
    codebook: np.ndarray,
    part_of: np.ndarray | None = None,
    selections: tuple[dict, ...] = SELECTIONS,
    **config,
) -> list[list[str]]:
    """Keys that cluster and select keep of images with these codes, each as often as it is kept, for each selection.

    Args:
        root: The run folder.
        codes: (N, L).
        codebook: (K, D).
        part_of: The part that each sample is read from, (N,); None: three parts.
        selections: Settings of each.
        config: Settings of all.
    """
    part_of = np.arange(len(codes)) * 3 // len(codes) if part_of is None else part_of
    parts = [Part(i, f"{i:05d}", "") for i in range(int(part_of.max()) + 1)]
    keys = np.array([f"k{i:03d}" for i in range(len(codes))], object)
    # A feature of an image is the mean of its codes' vectors.
    features = np.tile(codebook[codes].mean(1), 2).astype(np.float16)
    found = []
    for number, selection in enumerate(selections):
        settings = {"num_clusters": 6, "keep_ratio": 0.3, "alignment": "likelihood", **config, **selection}
        context = Context(
            root,
            ReduceConfig.from_run({"name": f"selection{number}", **settings}),
            SimpleNamespace(source=SimpleNamespace(parts=parts)),
            SimpleNamespace(
                quantizer=SimpleNamespace(num_codes=NUM_CODES, codebook=torch.from_numpy(codebook)),
                code_names=WORDS,
                **{"num_patches": NUM_PATCHES, "encoder_width": WIDTH, "pooled_width": 2 * WIDTH},
            ),
            "model",
            "cpu",
            as_made=("encode", "score", "gradient"),
        )
        if not number:
            for part in parts:
                rows = np.flatnonzero(part_of == part.index)
                _write_part(context, part.name, keys[rows].tolist(), codes[rows], features[rows])
            for name in ("encode", "score", "gradient"):
                context.closed_stage(name).finish({"read": len(codes)}, 1.0)
        for name in ("cluster", "select"):
            stage = context.stage(name)
            stage.open()
            if not stage.is_done():
                stage_module(name).run(context, stage)
        tables = [context.load_part(stage, part.name, ["key", "kept", "repeats"]) for part in parts]
        kept = [row for table in tables for row in table.to_pylist() if row["kept"]]
        found.append(sorted(row["key"] for row in kept for _ in range(row["repeats"] or 1)))
    return found


def _write_part(context: Context, name: str, keys: list[str], codes: np.ndarray, features: np.ndarray) -> None:
    usable = [True] * len(keys)
    columns = {column: keys for column in ("key", "image_key", "caption_original", "image_path")}
    columns |= {column: [0] * len(keys) for column in ("image_offset", "image_size")}
    columns["caption_original"] = [f"a {WORDS[int(row) % len(WORDS)]}" for row in codes[:, 0]]
    columns |= {"codes": list_column(codes, usable), "feature": list_column(features, usable)}
    columns |= {"error": [""] * len(keys), **dict.fromkeys(METADATA, [None] * len(keys))}
    encoded = pa.table(
        {column: columns[column] for column in STAGES["encode"].column_names}, schema=STAGES["encode"].schema
    )
    # Scores with many ties.
    alignment, gradient = ((draw_priority(keys, seed) % 7).astype(np.float32) for seed in (1, 2))
    tables = {
        "encode": with_code_statistics(encoded, codes, NUM_CODES),
        "score": pa.table({"key": keys, "likelihood_gain": alignment}),
        "gradient": pa.table({"key": keys, "gradient": gradient}),
    }
    for stage_name, table in tables.items():
        stage = context.closed_stage(stage_name)
        stage.open()
        stage.write_part(name, lambda path, table=table: write_table(table, path), {"read": len(keys)})
