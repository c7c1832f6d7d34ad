"""A small run folder made by hand, with two reduced sets over eight records in two parts."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from selecting import select_uniform

from lavis_tldr.runs.reduced_sets import note_variants
from lavis_tldr.runs.stage_folder import Stage
from lavis_tldr.runs.stages import VARIED_STAGES

HOSTILE = "ph\u202eoto\n\x1b[31mred, \u05d0.jpg#0"
PARTS = {
    "00000": ["000000001", "000000002", "000000003", "000000004", "000000005"],
    "00001": ["000010001", "000010002", HOSTILE],
}
# key: cluster, distance, alignment, kept, reason, understudy
BEST = {
    "000000001": (0, 0.5, 0.9, True, "kept", 0),
    "000000002": (0, 0.1, 0.4, True, "kept", 0),
    "000000003": (0, 0.3, 0.3, False, "dropped: low alignment", 1),
    "000000004": (0, 0.2, 0.8, False, "dropped: near duplicate of 000000001", 0),
    "000000005": (-1, np.nan, np.nan, False, "failed: empty caption", 0),
    "000010001": (1, 0.7, 0.1, True, "kept", 0),
    "000010002": (0, 0.4, 0.2, False, "dropped: low alignment", 2),
    HOSTILE: (1, 0.9, 0.1, False, "dropped: low alignment", 1),
}
SEED = 42
GENERATED = 0.05  # alignment of every generated caption
SCORED = {"caption": "", "score": "similarity"}
SOURCE_TYPES = {"image_offset": pa.int64(), "image_size": pa.int64()}
SCORES = ("distance", "prototype_distance", "alignment", "score", "alignment_generated", "alignment_refined")
TYPES = {"cluster": pa.int32(), "understudy": pa.int32(), **dict.fromkeys(SCORES, pa.float32())}


def write_stage(folder: Path, config: dict, inputs: dict, parts: dict[str, dict], counts=None, notes=None) -> Stage:
    """A finished stage with these parts, {part: {column: values}}; unfinished where there are no counts."""
    if folder.parent.name in VARIED_STAGES:
        stage = Stage(folder.parent.parent, folder.parent.name, config, inputs, folder.name)
    else:
        stage = Stage(folder.parent, folder.name, config, inputs)
    stage.open()
    for part, columns in parts.items():
        types = SOURCE_TYPES | TYPES
        table = pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()})
        stage.note_part(part, {"read": table.num_rows, "seconds": 2.0} | (notes or {}).get(part, {}))
        with stage.write(f"{part}.parquet") as path:
            pq.write_table(table, path)
    if counts is not None:
        stage.finish(counts, 10.0)
    return stage


def source_columns(part: str, keys: list[str]) -> dict:
    return {
        "key": keys,
        "image_key": [key.split("#")[0] for key in keys],
        "caption_original": ["" if key == "000000005" else f"caption of {key}" for key in keys],
        "error": ["empty caption" if key == "000000005" else "" for key in keys],
        "image_path": [f"tars/{part}.tar"] * len(keys),
        "image_offset": [1536 * i for i in range(len(keys))],
        "image_size": [1000] * len(keys),
    }


def write_encode(run: Path, done: bool = True, parts=PARTS) -> Stage:
    return write_stage(
        run / "encode",
        {"bf16": True},
        {"model": "0123456789abcdef" * 2, **{f"part {part}": f"{part}" * 6 for part in PARTS}},
        {part: source_columns(part, keys) for part, keys in parts.items()},
        {"read": 8, "written": 7, "failed": 1} if done else None,
        {"00001": {"seconds": 3.5}},
    )


def usable(keys: list[str]) -> list[str]:
    return [key for key in keys if BEST[key][0] >= 0]


def write_score(run: Path, encode: Stage) -> Stage:
    columns = {
        part: {
            "key": usable(keys),
            "similarity": pa.array([BEST[key][2] for key in usable(keys)], pa.float32()),
        }
        for part, keys in PARTS.items()
    }
    captions = {
        part: {"key": usable(keys), "caption_generated": [f"made for {key}" for key in usable(keys)]}
        for part, keys in PARTS.items()
    }
    captioned = write_stage(run / "caption", {}, {"encode": encode.digest}, captions, {"read": 7})
    inputs = {"encode": encode.digest, "caption": captioned.digest}
    return write_stage(run / "score/similarity", {"alignment": "similarity"}, inputs, columns, {"read": 7})


def write_cluster(run: Path, encode: Stage) -> Stage:
    columns = {
        part: {
            "key": usable(keys),
            "cluster": [BEST[key][0] for key in usable(keys)],
            "distance": [BEST[key][1] for key in usable(keys)],
            "prototype_distance": [BEST[key][1] / 2 for key in usable(keys)],
        }
        for part, keys in PARTS.items()
    }
    counts = {"read": 7, "clusters": 2, "empty": 0}
    return write_stage(
        run / "cluster/index-2", {"num_clusters": 2, "seed": SEED}, {"encode": encode.digest}, columns, counts
    )


def write_select(folder: Path, config: dict, inputs: dict, outcome: dict) -> Stage:
    columns = {}
    for part, keys in PARTS.items():
        rows = [outcome[key] for key in usable(keys)]
        columns[part] = {"key": usable(keys)}
        for i, name in enumerate(("cluster", "distance", "alignment", "kept")):
            columns[part][name] = [row[i] for row in rows]
        columns[part]["score"] = columns[part]["alignment"]
        columns[part]["filtered"] = [False for _ in rows]
        columns[part]["prototype_distance"] = [row[1] / 2 for row in rows]
        columns[part]["understudy"] = [row[5] for row in rows]
        columns[part]["duplicate_of"] = [row[4].partition("near duplicate of ")[2] for row in rows]
    kept = sum(row[3] for row in outcome.values())
    return write_stage(folder / "select", config, inputs, columns, {"read": 7, "kept": kept})


def write_refine(folder: Path, select: Stage, outcome: dict, recipe: str) -> Stage:
    columns = {}
    for part, keys in PARTS.items():
        kept = [key for key in keys if outcome[key][3]]
        columns[part] = {
            "key": kept,
            "caption_generated": [f"made for {key}" for key in kept],
            "caption": [f"caption of {key}" for key in kept],
            "caption_from": ["original" for _ in kept],
            "alignment_generated": [GENERATED for _ in kept],
            "alignment_refined": [outcome[key][2] for key in kept],
        }
    config = {"recipe": recipe, "alignment_threshold": 0.1} if recipe == "gated" else {"recipe": recipe}
    return write_stage(folder / "refine", config, {"select": select.digest}, columns, {"read": len(kept)})


def write_ledger(folder: Path, refine: Stage, outcome: dict) -> Stage:
    columns = {}
    for part, keys in PARTS.items():
        keys = sorted(keys)
        columns[part] = source_columns(part, keys) | {"part": [part] * len(keys)}
        for i, name in enumerate(("cluster", "distance", "alignment", "kept", "reason", "understudy")):
            columns[part][name] = [outcome[key][i] for key in keys]
        columns[part]["score"] = columns[part]["alignment"]
        columns[part]["prototype_distance"] = [outcome[key][1] / 2 for key in keys]
        kept = [outcome[key][3] for key in keys]
        columns[part]["alignment_generated"] = [GENERATED if k else np.nan for k in kept]
        columns[part]["alignment_refined"] = [outcome[key][2] if outcome[key][3] else np.nan for key in keys]
        columns[part]["caption_generated"] = [f"made for {key}" if k else "" for key, k in zip(keys, kept, strict=True)]
        columns[part]["caption"] = [f"caption of {key}" if k else "" for key, k in zip(keys, kept, strict=True)]
        columns[part]["caption_from"] = ["original" if k else "" for k in kept]
    return write_stage(folder / "ledger", {}, {"refine": refine.digest}, columns, {"read": 8})


def write_build(folder: Path, ledger: Stage) -> None:
    stage = Stage(folder, "build", {"images": "in_place"}, {"ledger": ledger.digest})
    stage.open()
    (stage.folder / "keys.txt").write_text("000000001\n")
    stage.finish({"read": 8, "written": 3}, 0.5)


def uniform_outcome() -> dict:
    """What a uniform draw of half of each cluster makes of the records."""
    keys = usable([key for part in PARTS.values() for key in part])
    kept = dict(zip(keys, select_uniform(keys, np.array([BEST[k][0] for k in keys]), 0.5, seed=SEED), strict=True))
    outcome = {}
    for key, (cluster, distance, _, _, reason, _) in BEST.items():
        told = "kept" if kept.get(key) else reason if reason.startswith("failed") else "dropped: not drawn"
        outcome[key] = (cluster, distance, np.nan, bool(kept.get(key)), told, 0)
    return outcome


def begin_set(run: Path, name: str, **also: str) -> Path:
    """The folder of a set that uses the clusters, and other shared stages: ``caption=""``."""
    folder = run / name
    folder.mkdir()
    note_variants(folder, {"encode": "", "cluster": "index-2", **also})
    return folder


def write_run(run: Path) -> Path:
    """The run folder, whole: sets "best" (aligned, by similarity to generated captions) and "paper" (uniform)."""
    encode = write_encode(run)
    score = write_score(run, encode)
    cluster = write_cluster(run, encode)
    for name, config, outcome, refining in (
        ("best", {"selection": "aligned", "keep_ratio": 0.4, "seed": SEED}, BEST, "gated"),
        ("paper", {"selection": "uniform", "keep_ratio": 0.5, "seed": SEED}, uniform_outcome(), "original"),
    ):
        inputs = {"cluster": cluster.digest}
        folder = begin_set(run, name, **(SCORED if name == "best" else {}))
        if name == "best":
            inputs["score"] = score.digest
            (folder / "config.yaml").write_text("run: {name: best}\n")
        refine = write_refine(folder, write_select(folder, config, inputs, outcome), outcome, refining)
        write_build(folder, write_ledger(folder, refine, outcome))
    return run
