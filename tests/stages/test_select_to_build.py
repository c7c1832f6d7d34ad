"""Select, ledger and build on drawn records, against an oracle: nothing lost, nothing doubled, quotas right."""

import json
import math
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_selection import naive_outcome

from lavis_tldr.reduction.quotas import density_weights
from lavis_tldr.runs.code_tables import list_column, with_code_statistics
from lavis_tldr.runs.ledger import check_ledger, read_ledger
from lavis_tldr.runs.stages import STAGES
from lavis_tldr.sources import Part
from lavis_tldr.sources.record import METADATA
from lavis_tldr.stages import groups
from lavis_tldr.stages.context import Context, stage_module, write_table
from lavis_tldr.stages.reduce_config import ReduceConfig

NUM_CLUSTERS, NUM_CODES, NUM_PATCHES, WIDTH = 5, 8, 6, 2
# Mean patch feature and [CLS] of images by code.
FEATURES = np.random.default_rng(0).normal(size=(NUM_CODES, 2 * WIDTH)).astype(np.float16)
CENTROIDS = np.random.default_rng(1).normal(size=(NUM_CLUSTERS, 3)).astype(np.float32)
SPREADS = np.array([0.5, 0.1, 0.3, 0.0, 0.25])
MEASURES = ("alignment", "distance", "prototype_distance", "gradient")
CONCEPTS = ["kite", "dog", "red kite", "yak"]
ERRORS = ("", "", "", "", "empty caption", "missing image")

records = st.lists(
    st.fixed_dictionaries(
        {
            "part": st.integers(0, 3),
            "cluster": st.integers(0, NUM_CLUSTERS - 1),
            "error": st.sampled_from(ERRORS),
            "alignment": st.sampled_from([0.125, 0.5, 0.5, 0.75, -2.0, math.nan]),
            "distance": st.sampled_from([0.0, 0.25, 1.5]),
            "prototype_distance": st.sampled_from([0.0, 0.25, 1.5, 2.0]),
            "gradient": st.sampled_from([0.0, 0.5, 8.0, math.nan]),
            "code": st.integers(0, NUM_CODES - 1),
            "words": st.integers(1, 5),
            "things": st.lists(st.sampled_from(["red", "kite", "dog", "sea"]), max_size=3),
        }
    ),
    min_size=1,
    max_size=50,
)


def caption_of(row):
    return ", ".join(["two"] * row["words"] + row.get("things", []))


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
    """What encode, score, gradient and cluster would have written."""
    encoded, scored, graded, clustered = {}, {}, {}, {}
    for part in context.parts.source.parts:
        mine = [row for row in rows if row["part"] == part.index]
        usable = np.array([not row["error"] for row in mine], bool)
        good = [row for row in mine if not row["error"]]
        codes = np.array([[row["code"]] * NUM_PATCHES for row in good], np.uint16).reshape(-1, NUM_PATCHES)
        columns = {
            "key": [row["key"] for row in mine],
            "image_key": [row["key"] for row in mine],
            "caption_original": [caption_of(row) for row in mine],
            "error": [row["error"] for row in mine],
            "image_path": [f"{part.name}.tar"] * len(mine),
            "image_offset": list(range(len(mine))),
            "image_size": [1] * len(mine),
            "codes": list_column(codes, usable),
            "feature": list_column(FEATURES[[row["code"] for row in good]].reshape(-1, 2 * WIDTH), usable),
            **dict.fromkeys(METADATA, [None] * len(mine)),
        }
        encoded[part.name] = with_code_statistics(pa.table(columns, schema=STAGES["encode"].schema), codes, NUM_CODES)
        keys = pa.array([row["key"] for row in good], pa.string())
        known = {name: pa.array([row[name] for row in good], pa.float32()) for name in MEASURES}
        scores = {"key": keys, "likelihood_gain": known.pop("alignment")}
        scored[part.name] = pa.table(scores, schema=STAGES["score"].schema_for(context.config))
        graded[part.name] = pa.table({"key": keys, "gradient": known.pop("gradient")}, schema=STAGES["gradient"].schema)
        clusters = pa.array([row["cluster"] for row in good], pa.int32())
        clustered[part.name] = pa.table({"key": keys, "cluster": clusters, **known})
    write_stage(context, "encode", encoded)
    write_stage(context, "score", scored)
    write_stage(context, "gradient", graded)
    stage = write_stage(context, "cluster", clustered)
    sizes = np.bincount([row["cluster"] for row in rows if not row["error"]], minlength=NUM_CLUSTERS)
    for name, values in (("sizes", sizes), ("spreads", SPREADS), ("centroids", CENTROIDS)):
        np.save(stage.folder / f"{name}.npy", values)
    stage.finish({"read": int(sizes.sum())}, 1.0)


def write_refined(context):
    """What refine would have written for the samples that are kept."""
    tables = {}
    for name in context.part_names:
        found = context.load_part(context.stage("select"), name, ["key", "kept"])
        keys = found["key"].filter(found["kept"])
        columns = {column: keys for column in ("key", "caption_generated", "caption")}
        columns["caption_from"] = pa.array(["generated"] * len(keys), pa.string())
        aligned = pa.array(np.full(len(keys), 0.5, np.float32))
        columns |= {"alignment_generated": aligned, "alignment_refined": aligned}
        tables[name] = pa.table(columns, schema=STAGES["refine"].schema_for(context.config))
    write_stage(context, "refine", tables)


def run_stages(context, *names):
    for name in names:
        stage = context.stage(name)
        stage.open()
        stage_module(name).run(context, stage)
        assert not stage.scratch.exists()


def context_of(folder, config):
    quantizer = SimpleNamespace(num_codes=NUM_CODES)
    return Context(
        Path(folder),
        ReduceConfig.from_run(
            {"num_clusters": NUM_CLUSTERS, "images": "in_place", "alignment": "likelihood", **config}
        ),
        SimpleNamespace(source=SimpleNamespace(parts=[Part(i, f"{i:05d}", "") for i in range(4)])),
        SimpleNamespace(
            **{"quantizer": quantizer, "num_patches": NUM_PATCHES, "code_names": CONCEPTS},
            **{"encoder_width": WIDTH, "pooled_width": 2 * WIDTH},
        ),
        "model",
        "cpu",
        as_made=("encode", "score", "gradient", "cluster", "refine"),
    )


@st.composite
def configs(draw):
    """Every selection with every quota, prefilter and way to tell near duplicates."""
    criteria = ["aligned", "large_distance", "hard_sample", "easy_sample", "gradient"]
    share = draw(st.sampled_from([0.3, 0.5, 0.8, 1.0]))
    config = {
        "selection": draw(st.sampled_from(["random", "uniform", *criteria])),
        "keep_ratio": draw(st.floats(0.01, share)),
        "balance": draw(st.sampled_from([0.0, 0.4, 1.0])),
        "quota": draw(st.sampled_from(["size", "density"])),
        "density_temperature": draw(st.sampled_from([1e-5, 0.1, 5.0])),
        "prefilter": draw(st.sampled_from(["", *criteria])),
        "prefilter_share": share,
        "prefilter_scope": draw(st.sampled_from(["all", "cluster"])),
        "min_words": draw(st.sampled_from([0, 0, 3])),
        "duplicate_threshold": draw(st.sampled_from([None, 0.9])),
        "duplicate_by": draw(st.sampled_from(["histogram", "feature"])),
        "concept_cap": draw(st.sampled_from([None, None, 1, 3, 0.2])),
        "keep_unmatched": draw(st.booleans()),
    }
    if config["selection"] in criteria:
        config["max_repeats"] = draw(st.sampled_from([1, 2, 4]))
        config["repeat_penalty"] = draw(st.sampled_from([0.0, 0.1, 0.5, 3.0]))
    return config


def likeness(usable, by):
    """Whether two samples are near duplicates, as a function of their keys."""
    features = {key: FEATURES[row["code"], :WIDTH].astype(float) for key, row in usable.items()}
    mean = sum(features.values()) / len(features)

    def by_feature(key, other):
        one, two = features[key] - mean, features[other] - mean
        norms = math.hypot(*one) * math.hypot(*two)
        return norms > 0 and float(one @ two) / norms >= 0.9

    # An image of one code only shares all of it with another, or nothing.
    by_histogram = lambda key, other: usable[key]["code"] == usable[other]["code"]  # noqa: E731
    return by_feature if by == "feature" else by_histogram


@settings(max_examples=40, deadline=None)
@given(records, configs(), st.integers(1, 20))
def test_every_selection_equals_the_naive_one(rows, config, group_rows):
    rows = [{**row, "key": f"k{i:03d}"} for i, row in enumerate(rows)]
    if all(row["error"] for row in rows):
        rows[0]["error"] = ""
    small = {"_ROWS": group_rows, "_ROWS_TO_COMPARE": dict.fromkeys(("histogram", "feature"), group_rows)}
    with tempfile.TemporaryDirectory() as folder, patch.multiple(groups, **small):
        context = context_of(folder, config)
        write_records(context, rows)
        run_stages(context, "select")
        write_refined(context)
        run_stages(context, "ledger", "build")
        ledger = read_ledger(context.set_root)
        annotations = json.loads((context.set_root / "build/annotations.json").read_text())
        listed = (context.set_root / "build/keys.txt").read_text().split()

    check_ledger(ledger, num_read=len(rows))  # kept + dropped + failed = read, and no key twice
    found = {row["key"]: row for row in ledger.to_pylist()}
    assert set(found) == {row["key"] for row in rows}
    usable = {row["key"]: {**row, "caption": caption_of(row)} for row in rows if not row["error"]}
    assert {key for key, row in found.items() if row["reason"].startswith("failed")} == set(found) - set(usable)
    sizes = np.bincount([row["cluster"] for row in usable.values()], minlength=NUM_CLUSTERS)
    weights = []
    if config["quota"] == "density":
        weights = density_weights(sizes, SPREADS, CENTROIDS, config["density_temperature"]).tolist()
    alike = likeness(usable, config["duplicate_by"])
    expected = naive_outcome(usable, {**config, "concepts": CONCEPTS}, NUM_CLUSTERS, weights, alike)
    assert {
        key: (row["reason"], row["understudy"], row.get("repeats", row["kept"]))
        for key, row in found.items()
        if key in usable
    } == expected
    # A column of its own, and a field of the annotations, only where samples may be repeated.
    repeated = config.get("max_repeats", 1) > 1
    assert ("repeats" in ledger.column_names) == repeated
    told = {row["key"]: row.get("repeats") for row in annotations}
    assert told == {key: expected[key][2] if repeated else None for key in told}
    kept = sorted(key for key, row in found.items() if row["kept"])
    assert [row["key"] for row in annotations] == listed and sorted(listed) == kept
    for key, row in found.items():
        assert (row["alignment_refined"] == 0.5) == row["kept"]
        for name in ("distance", "prototype_distance"):
            assert row[name] == usable[key][name] if key in usable else math.isnan(row[name])


ODD_KEYS = ['a "b"', "c\\n", "d\u2028e", "f\rg", "\x7f", "é 🎈", "plain"]  # in the order of the ledger


def test_annotations_and_keys_byte_for_byte_and_from_the_rows_of_a_job_cut_short(tmp_path):
    """Annotations as `json` writes them, an entry a line; what an earlier job wrote of a part is taken as it is."""
    record = {"cluster": 0, "error": "", "alignment": 0.5, "distance": 0.0, "prototype_distance": 0.0, "gradient": 0.0}
    rows = [record | {"key": key, "part": i // 3, "code": 0, "words": 1} for i, key in enumerate(ODD_KEYS)]
    context = context_of(tmp_path, {"selection": "random", "keep_ratio": 1.0})
    write_records(context, rows)
    run_stages(context, "select")
    write_refined(context)
    run_stages(context, "ledger")
    with patch("lavis_tldr.stages.build.write_entries", side_effect=InterruptedError), pytest.raises(InterruptedError):
        run_stages(context, "build")
    build = context.set_root / "build"
    written = [path.read_text() for path in sorted((build / "scratch").glob("*.jsonl"))]
    entries = [json.loads(line) for text in written for line in text.splitlines()]
    assert [entry["key"] for entry in entries] == ODD_KEYS
    assert entries[0] == {
        "image": f"{ODD_KEYS[0]}.jpg",
        **{"key": ODD_KEYS[0], "caption": ODD_KEYS[0], "caption_original": "two", "caption_generated": ODD_KEYS[0]},
        **{"tar": "00000.tar", "offset": 0, "size": 1},
    }

    entries[-1]["caption"] = "of the earlier job: é"
    (build / "scratch/00002.jsonl").write_text(json.dumps(entries[-1]) + "\n")
    (build / "scratch/00000.jsonl").unlink()
    run_stages(context, "build")
    expected = "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n"
    assert (build / "annotations.json").read_bytes() == expected.encode("ascii")
    assert (build / "keys.txt").read_bytes() == "".join(key + "\n" for key in ODD_KEYS).encode()


def crowded(number):
    """So many pairs, of which four in five show dogs, and one a yak."""
    things = [["dog"]] * (number * 4 // 5) + [["yak"]] + [["kite"]] * (number - number * 4 // 5 - 1)
    record = {"cluster": 0, "error": "", "distance": 0.0, "prototype_distance": 0.0, "gradient": 0.0, "words": 1}
    return [
        record | {"key": f"k{i:03d}", "part": i % 4, "code": i % NUM_CODES, "things": own, "alignment": i / number}
        for i, own in enumerate(things)
    ]


@pytest.mark.parametrize(("names", "cap"), [(CONCEPTS, 10), (CONCEPTS, 0.1), ([], 0.1)])
def test_a_crowded_concept_is_capped_whoever_names_it(tmp_path, names, cap):
    """Concepts are the codes' names or else the captions' own words; the best of the crowded one stay, the rare all."""
    context = context_of(tmp_path, {"selection": "aligned", "concept_cap": cap, "keep_ratio": 1.0})
    context.model.code_names = names
    write_records(context, crowded(100))
    run_stages(context, "select")
    rows = [
        row
        for table in context.load_parts(context.stage("select"), ["key", "kept", "capped"])
        for row in table.to_pylist()
    ]
    told = json.loads((context.stage("select").folder / "concepts.json").read_text())
    assert told["cap"] == 10 and (told["concepts"]["dog"], told["concepts"]["kite"], told["concepts"]["yak"]) == (
        80,
        19,
        1,
    )
    kept = sorted(row["key"] for row in rows if row["kept"])
    assert kept == [f"k{i:03d}" for i in [*range(70, 80), 80, *range(90, 100)]]
    assert {row["capped"] for row in rows if not row["kept"]} == {"concept cap"}
    assert not (context.stage("select").folder / "scratch").exists()


def test_a_concept_cap_goes_on_with_the_concepts_of_a_job_cut_short(tmp_path):
    context = context_of(tmp_path, {"selection": "aligned", "concept_cap": 5, "keep_ratio": 0.5})
    context.model.code_names = ["dog", "kite"]
    write_records(context, crowded(50))
    with patch("lavis_tldr.stages.select.take_places", side_effect=InterruptedError), pytest.raises(InterruptedError):
        run_stages(context, "select")
    context.model.code_names = ["yak"]  # as NLTK might find others once its tagger is installed
    run_stages(context, "select")
    told = json.loads((context.stage("select").folder / "concepts.json").read_text())
    assert list(told["concepts"]) == ["dog", "kite"]
