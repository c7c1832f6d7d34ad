"""A finished run folder whose pool is drawn, a known share of its captions right."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from transformers import BertConfig, BertModel

from lavis_tldr.models.wordpiece_training import train_vocabulary
from lavis_tldr.reduction.repeats import SoftCap
from lavis_tldr.reduction.selection import SelectionRule
from lavis_tldr.runs.code_tables import list_column, with_code_statistics
from lavis_tldr.runs.ledger import ledger_of, write_ledger
from lavis_tldr.runs.reduced_sets import note_variants
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.sources.record import METADATA

NUM_KINDS, NUM_CLUSTERS, NUM_CODES, SEED = 40, 4, 124, 7
_NAMES = [first + vowel for first in "bdfgklmnprst" for vowel in "aeiu"][:NUM_KINDS]
WORDS = [[name + ending for name in _NAMES] for ending in ("ne", "lo", "th")]
MODEL = "0123456789abcdef" * 2


@dataclass
class Pairs:
    """Drawn pairs: things in three places of a picture, forty kinds of each.

    Attributes:
        keys: (N,).
        captions: (N,).
        right: Whether a caption is about its image, (N,), bool.
        alignment: (N,), above 0 for the right ones.
        features: (N, D).
        codes: (N, L).
        clusters: (N,).
    """

    keys: list[str]
    captions: list[str]
    right: np.ndarray
    alignment: np.ndarray
    features: np.ndarray
    codes: np.ndarray
    clusters: np.ndarray


def draw_pairs(num_pairs: int, share_right: float, seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(NUM_KINDS, size=(num_pairs, 3))
    looks = np.random.default_rng(1).normal(size=(3, NUM_KINDS, 64))  # of each kind, whatever the set
    told = kinds.copy()
    right = rng.permutation(num_pairs) < round(share_right * num_pairs)
    told[~right] = rng.integers(NUM_KINDS, size=(int((~right).sum()), 3))
    features = sum(looks[place, kinds[:, place]] for place in range(3)) + rng.normal(size=(num_pairs, 64))
    return Pairs(
        [f"{i:05}" for i in range(num_pairs)],
        [" ".join(WORDS[place][kind] for place, kind in enumerate(row)) for row in told],
        right,
        (np.where(right, 2.0, -2.0) + rng.uniform(-1, 1, num_pairs)).astype(np.float32),
        features.astype(np.float16),
        (kinds + NUM_KINDS * np.arange(3)).astype(np.uint16),
        (kinds[:, 0] % NUM_CLUSTERS).astype(np.int32),
    )


def write_bert(folder: Path) -> Path:
    """A small BERT with random weights that knows all the words."""
    words = [word for place in WORDS for word in place]
    tokens = train_vocabulary(words * 20, 400)
    sizes = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokens), max_position_embeddings=64, initializer_range=0.3, **sizes)
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    return folder


def write_run(
    run: Path, pairs: Pairs, bert: Path | str, *, ratio: float = 0.25, num_parts: int = 3, max_repeats: int = 1
) -> Path:
    """The run folder of a set ``best`` that has kept the best aligned, some of them several times; its path."""
    write_encode(run, pairs, num_parts)
    best, count = run / "best", len(pairs.keys)
    write_stage(run, "cluster", {"num_clusters": NUM_CLUSTERS}, {}, variant="index-4")
    config = {"selection": "aligned", "keep_ratio": ratio, "seed": SEED, "alignment": "contrastive", "balance": 1.0}
    soft_cap = SoftCap()
    if max_repeats > 1:
        config |= {"max_repeats": max_repeats, "repeat_penalty": 0.25}
        soft_cap = SoftCap(max_repeats, 0.25 * float(np.std(pairs.alignment.astype(np.float64))))
    write_stage(best, "select", config, {})
    write_stage(best, "refine", {"recipe": "original"}, {})
    rule = SelectionRule(ratio, SEED, soft_cap=soft_cap)
    repeats = rule.stand(pairs.keys, pairs.clusters, score=pairs.alignment).repeats()
    selection = {
        "key": pairs.keys,
        "cluster": pairs.clusters,
        "distance": np.zeros(count, np.float32),
        "prototype_distance": np.zeros(count, np.float32),
        "alignment": pairs.alignment,
        "score": pairs.alignment,
        "filtered": np.zeros(count, bool),
        "kept": repeats > 0,
        "understudy": np.zeros(count, np.int32),
        "duplicate_of": [""] * count,
        **({"repeats": repeats.astype(np.int32)} if max_repeats > 1 else {}),
    }
    tables = {}
    for number, rows in enumerate(_parts(count, num_parts)):
        records = pq.read_table(run / f"encode/{number:05}.parquet").drop_columns(["codes", "feature"])
        chosen = pa.table(selection).take(rows)
        refined = _refined(chosen.filter(chosen["kept"])["key"], pairs)
        tables[f"{number:05}"] = ledger_of(f"{number:05}", records, chosen, refined, criterion="aligned")
    write_stage(best, "ledger", {}, tables, write=write_ledger)
    note_variants(best, {"cluster": "index-4"})
    (best / "config.yaml").write_text(yaml.safe_dump({"run": {"similarity_weights": str(bert)}}))
    return run


def write_encode(run: Path, pairs: Pairs, num_parts: int = 1, model: str = MODEL) -> None:
    """The stage encode; its last part has a record that can't be used as well."""
    tables = {}
    for number, rows in enumerate(_parts(len(pairs.keys), num_parts)):
        broken = number == num_parts - 1
        usable = [True] * len(rows) + [False] * broken
        columns = {
            "key": [pairs.keys[row] for row in rows],
            "image_key": [pairs.keys[row].split("#")[0] for row in rows],
            "caption_original": [pairs.captions[row] for row in rows],
            "error": [""] * len(rows),
            "image_path": [f"{number}.tar"] * len(rows),
            "image_offset": [0] * len(rows),
            "image_size": [1] * len(rows),
        }
        if broken:
            for name, value in zip(columns, ("zz", "zz", "", "empty caption", "x.tar", 0, 1), strict=True):
                columns[name].append(value)
        columns["codes"] = list_column(pairs.codes[rows], usable)
        columns["feature"] = list_column(pairs.features[rows], usable)
        columns |= {name: pa.nulls(len(usable), kind) for name, kind in METADATA.items()}
        tables[f"{number:05}"] = with_code_statistics(pa.table(columns), pairs.codes[rows], NUM_CODES)
    write_stage(run, "encode", {}, tables, {"model": model})


def write_stage(root, name, config, tables, inputs=None, *, variant="", write=pq.write_table) -> None:
    """A finished stage with these parts."""
    stage = Stage(root, name, config, inputs or {}, variant)
    stage.open()
    for part, table in tables.items():
        with stage.write(f"{part}.parquet") as path:
            write(table, path)
    stage.finish({"read": 1}, 1.0)


def _parts(count: int, number: int) -> list[np.ndarray]:
    # Not in the order of keys, as a tar may have them.
    return [np.arange(count)[part::number][::-1] for part in range(number)]


def _refined(keys: pa.ChunkedArray, pairs: Pairs) -> pa.Table:
    caption_of = dict(zip(pairs.keys, pairs.captions, strict=True))
    captions, unknown = [caption_of[key] for key in keys.to_pylist()], np.full(len(keys), np.nan, np.float32)
    return pa.table(
        {
            "key": keys,
            "caption_generated": captions,
            "caption": captions,
            "caption_from": ["original"] * len(keys),
            "alignment_generated": unknown,
            "alignment_refined": unknown,
        }
    )
