"""Select, ledger and build on drawn records: nothing lost, nothing doubled, quotas right, whatever the sizes."""

import json
import math
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis_tldr.reduction.code_tables import list_column, with_code_statistics
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.ledger import check_ledger, read_ledger
from lavis_tldr.reduction.selection import keep_budget
from lavis_tldr.sources import Part
from lavis_tldr.tasks.reduce_config import ReduceConfig
from lavis_tldr.tasks.stages import STAGES, encode, refine, score, select, standing
from lavis_tldr.tasks.stages.context import Context, write_table

NUM_CLUSTERS, NUM_CODES, NUM_PATCHES = 5, 8, 6
ERRORS = ("", "", "", "", "empty caption", "missing image")

records = st.lists(
    st.fixed_dictionaries(
        {
            "part": st.integers(0, 3),
            "cluster": st.integers(0, NUM_CLUSTERS - 1),
            "error": st.sampled_from(ERRORS),
            "score": st.sampled_from([0.1, 0.5, 0.5, 0.9, -2.0, math.nan]),
            "code": st.integers(0, NUM_CODES - 1),
        }
    ),
    min_size=1,
    max_size=50,
)


def write_stage(context, name, tables):
    """A finished stage with these parts."""
    stage = context.closed_stage(name)
    stage.open()
    for part, table in tables.items():
        stage.write_part(part, lambda path, table=table: write_table(table, path), {"read": table.num_rows})
    if name != "cluster":
        stage.finish({"read": sum(table.num_rows for table in tables.values())}, 1.0)
    return stage


def write_records(context, rows):
    """What encode, score and cluster would have written."""
    encoded, scored, clustered = {}, {}, {}
    for part in context.parts.source.parts:
        mine = [row for row in rows if row["part"] == part.index]
        usable = np.array([not row["error"] for row in mine], bool)
        good = [row for row in mine if not row["error"]]
        codes = np.array([[row["code"]] * NUM_PATCHES for row in good], np.uint16).reshape(-1, NUM_PATCHES)
        columns = {
            "key": [row["key"] for row in mine],
            "image_key": [row["key"] for row in mine],
            "caption_original": [f"caption of {row['key']}" for row in mine],
            "error": [row["error"] for row in mine],
            "image_path": [f"{part.name}.tar"] * len(mine),
            "image_offset": list(range(len(mine))),
            "image_size": [1] * len(mine),
            "codes": list_column(codes, usable),
            "feature": list_column(np.zeros((len(good), 0), np.float16), usable),
        }
        encoded[part.name] = with_code_statistics(pa.table(columns, schema=encode.SCHEMA), codes, NUM_CODES)
        keys = pa.array([row["key"] for row in good], pa.string())
        scores = pa.array([row["score"] for row in good], pa.float32())
        scored[part.name] = pa.table({"key": keys, "likelihood_gain": scores}, schema=score.schema_of("likelihood"))
        clusters = pa.array([row["cluster"] for row in good], pa.int32())
        distances = pa.array([0.5] * len(good), pa.float32())
        clustered[part.name] = pa.table({"key": keys, "cluster": clusters, "distance": distances})
    write_stage(context, "encode", encoded)
    write_stage(context, "score", scored)
    stage = write_stage(context, "cluster", clustered)
    sizes = np.bincount([row["cluster"] for row in rows if not row["error"]], minlength=NUM_CLUSTERS)
    np.save(stage.folder / "sizes.npy", sizes)
    stage.finish({"read": int(sizes.sum())}, 1.0)


def write_refined(context):
    """What refine would have written for the samples that are kept."""
    tables = {}
    for name in context.part_names:
        found = context.load_part(select.stage_of(context), name, ["key", "kept"])
        keys = found["key"].filter(found["kept"])
        columns = {column: keys for column in ("key", "caption_generated", "caption")}
        origin = pa.array(["generated"] * len(keys), pa.string())
        tables[name] = pa.table({**columns, "caption_from": origin}, schema=refine.SCHEMA)
    write_stage(context, "refine", tables)


def run_stages(context, *names):
    for name in names:
        stage = STAGES[name].stage_of(context)
        stage.open()
        STAGES[name].run(context, stage)
        assert not stage.scratch.exists()


def naive_quotas(sizes, budget):
    """Largest remainders, the lower cluster first, in exact fractions."""
    total = sum(sizes)
    quotas = [size * budget // total for size in sizes]
    order = sorted(range(len(sizes)), key=lambda c: (-(sizes[c] * budget % total), c))
    for cluster in order[: budget - sum(quotas)]:
        quotas[cluster] += 1
    return quotas


@settings(max_examples=40, deadline=None)
@given(
    records,
    st.floats(0.01, 1),
    st.sampled_from(["uniform", "aligned"]),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.booleans(),
    st.integers(1, 20),
)
def test_nothing_is_lost_or_doubled_and_quotas_are_right(rows, ratio, selection, balance, by_twins, group_rows):
    rows = [{**row, "key": f"k{i:03d}"} for i, row in enumerate(rows)]
    if all(row["error"] for row in rows):
        rows[0]["error"] = ""
    config = {"selection": selection, "keep_ratio": ratio, "num_clusters": NUM_CLUSTERS, "images": "in_place"}
    config |= {"alignment": "likelihood"}
    if selection == "aligned":
        config |= {"balance": balance, "duplicate_threshold": 0.9 if by_twins else None}
    small = {"_ROWS": group_rows, "_ROWS_WITH_CODES": group_rows}
    with tempfile.TemporaryDirectory() as folder, patch.multiple(standing, **small):
        quantizer = SimpleNamespace(num_codes=NUM_CODES)
        context = Context(
            Path(folder),
            ReduceConfig.from_run(config),
            SimpleNamespace(source=SimpleNamespace(parts=[Part(i, f"{i:05d}", "") for i in range(4)])),
            SimpleNamespace(quantizer=quantizer, num_patches=NUM_PATCHES),
            "model",
            "cpu",
            as_made=("encode", "score", "cluster", "refine"),
        )
        write_records(context, rows)
        run_stages(context, "select")
        write_refined(context)
        run_stages(context, "ledger", "build")
        ledger = read_ledger(context.recipe_root)
        annotations = json.loads((context.recipe_root / "build/annotations.json").read_text())
        listed = (context.recipe_root / "build/keys.txt").read_text().split()

    check_ledger(ledger, num_read=len(rows))  # kept + dropped + failed = read, and no key twice
    found = {row["key"]: row for row in ledger.to_pylist()}
    assert set(found) == {row["key"] for row in rows}
    kept = {key for key, row in found.items() if row["kept"]}
    assert [row["key"] for row in annotations] == listed and sorted(listed) == sorted(kept)
    usable = {row["key"]: row for row in rows if not row["error"]}
    assert {key for key, row in found.items() if row["reason"].startswith("failed")} == set(found) - set(usable)
    twins = {key for key, row in found.items() if "near duplicate" in row["reason"]}
    budget = min(keep_budget(len(usable), ratio), len(usable) - len(twins))
    assert len(kept) == budget and kept <= set(usable) - twins

    if selection == "uniform":
        sizes = np.bincount([row["cluster"] for row in usable.values()], minlength=NUM_CLUSTERS).tolist()
        of_kept = np.bincount([usable[key]["cluster"] for key in kept], minlength=NUM_CLUSTERS)
        assert of_kept.tolist() == naive_quotas(sizes, budget)
    priority = dict(zip(usable, draw_priority(list(usable), config.get("seed", 42)), strict=True))

    def place(key):
        value = usable[key]["score"] if selection == "aligned" else math.nan
        return (key in twins, math.isnan(value), 0 if math.isnan(value) else -np.float32(value), priority[key])

    for cluster in range(NUM_CLUSTERS):
        members = sorted((key for key, row in usable.items() if row["cluster"] == cluster), key=place)
        num_kept = len(kept & set(members))
        # The kept are the first of their cluster; the others follow as understudies.
        of_tiers = [key for key in members if key in kept]
        assert selection == "aligned" or of_tiers == members[:num_kept]
        dropped = [key for key in members if key not in kept]
        assert [found[key]["understudy"] for key in dropped] == list(range(1, len(dropped) + 1))
    assert all(found[key]["understudy"] == 0 for key in kept)
    if by_twins and selection == "aligned":
        for key in twins:
            other = found[key]["reason"].removeprefix("dropped: near duplicate of ")
            assert usable[other]["code"] == usable[key]["code"] and usable[other]["cluster"] == usable[key]["cluster"]
            assert other not in twins
