"""What became of one sample: all of it, in JSON and in words, for whole and unfinished runs."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_folders import (
    BEST,
    HOSTILE,
    PARTS,
    begin_set,
    uniform_outcome,
    usable,
    write_cluster,
    write_encode,
    write_ledger,
    write_stage,
)
from selecting import select

from lavis_tldr.reduction.criteria import CRITERIA
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.report.inspection import inspect_run, verify_run
from lavis_tldr.report.why import cluster_standing, count_kept, draw_standing, why
from lavis_tldr.report.why_text import why_lines
from lavis_tldr.runs.stage_folder import Stage


def told(run, key, name=None):
    facts = why(run, key, name)
    return json.loads(json.dumps(facts, allow_nan=False)), "\n".join(why_lines(facts))


def test_a_dropped_sample_by_hand(run):
    facts, text = told(run, "000000003", "best")
    assert facts["source"] == {
        "part": "00000",
        "image_key": "000000003",
        "caption_original": "caption of 000000003",
        "error": "",
        "image_path": "tars/00000.tar",
        "image_offset": 3072,
        "image_size": 1000,
    }
    assert facts["scores"] == {"similarity": pytest.approx(0.3)}  # contrast was not asked for
    assert facts["sets"]["best"] == {
        "kept": False,
        "reason": "dropped: low alignment",
        "explanation": "dropped: low alignment: 3rd best alignment of the 4 in its cluster that repeat no other, of "
        "which 2 are kept, the last with 0.4",
        "cluster": {"id": 0, "of": 2, "size": 5, "kept": 2, "quota": 2},
        "distance": {"value": pytest.approx(0.3), "rank": 3},
        "prototype_distance": pytest.approx(0.15),
        "alignment": {"value": pytest.approx(0.3), "rank": 3, "of": 4, "lowest_kept": pytest.approx(0.4)},
        "score": {"by": "aligned", "value": pytest.approx(0.3), "rank": 3, "of": 4, "lowest_kept": pytest.approx(0.4)},
        "understudy": 1,
        "captions": {
            "original": "caption of 000000003",
            "generated": "made for 000000003",
            "final": None,
            "from": None,
            "explanation": None,
        },
    }
    assert text.splitlines() == [
        "key         000000003",
        "  source    part 00000; tars/00000.tar, 1 kB at byte 3,072",
        '  caption   "caption of 000000003"',
        "  scores    similarity 0.3",
        "",
        "set         best: not kept",
        "  why       dropped: low alignment: 3rd best alignment of the 4 in its cluster that repeat no other,",
        "            of which 2 are kept, the last with 0.4",
        "  cluster   0 of 2: 5 samples, 2 kept (quota 2)",
        "  distance  0.3 to the centroid (squared L2), 3rd nearest of 5; by cosine 0.15",
        "  alignment 0.3, 3rd best of 4",
        "  understudy 1st in line if an image of its cluster goes missing",
        '  generated "made for 000000003"',
    ]


def test_a_kept_sample(run):
    facts, text = told(run / "best", "000000001")
    account = facts["sets"]["best"]
    assert account["kept"] is True
    assert account["captions"]["final"] == "caption of 000000001"
    assert account["captions"]["from"] == "original"
    assert "set         best: KEPT" in text
    told_of_both = "its alignment 0.9 reaches the threshold 0.1, the other's 0.05 does not"
    assert told_of_both in text.replace("\n            ", " ")


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_set_selected_by_any_criterion(run, criterion):
    """One that is added to the table is told of without a change elsewhere."""
    for stage in ("ledger", "build"):
        shutil.rmtree(run / "best" / stage)
    path = run / "best/select/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["config"] |= {"selection": criterion, "prefilter": criterion}
    path.write_text(json.dumps(manifest))
    facts, text = told(run, "000000003", "best")
    its = CRITERIA[criterion]
    assert facts["sets"]["best"]["explanation"].startswith(
        f"dropped: {its.shortcoming}: 3rd {its.best} of the 4 in its cluster that repeat no other, of which 2 are kept"
    )
    # What the alignment was is told already.
    assert (f"  score     0.3, 3rd {its.best} of 4" in text) == (criterion != "aligned")


def test_a_near_duplicate_names_its_twin(run):
    _, text = told(run, "000000004", "best")
    assert "near duplicate of 000000001, which has the better claim; that one: kept" in text


def test_scores_of_all_kinds_are_told(run):
    """A second kind of scores beside the first, which no set uses; what one set is asked about has its own."""
    inputs = {"encode": Stage.as_made(run, "encode").digest}
    rows = {part: {"key": usable(keys), "contrast": [1.5] * len(usable(keys))} for part, keys in PARTS.items()}
    write_stage(run / "score/contrastive", {"alignment": "contrastive"}, inputs, rows, {"read": 7})
    assert why(run, "000000003")["scores"] == {"contrast": 1.5, "similarity": pytest.approx(0.3)}
    assert why(run, "000000003", "best")["scores"] == {"similarity": pytest.approx(0.3)}
    assert why(run, "000000003", "paper")["scores"] == {}


def test_other_clusters_of_the_run_do_not_matter(run):
    keys = {part: usable(keys) for part, keys in PARTS.items()}
    rows = {
        part: {"key": keys, "cluster": [9] * len(keys), "distance": [9.0] * len(keys)} for part, keys in keys.items()
    }
    inputs = {"encode": Stage.as_made(run, "encode").digest}
    write_stage(run / "cluster/histogram-20", {"num_clusters": 20}, inputs, rows, {"read": 7})
    for name, account in why(run, "000000003")["sets"].items():
        assert (account["cluster"]["id"], account["cluster"]["of"]) == (0, 2), name


@pytest.mark.parametrize("report", [why, lambda run, _: inspect_run(run), lambda run, _: verify_run(run)])
def test_a_set_that_does_not_say_what_it_uses(run, report):
    (run / "paper/variants.json").write_text("{")
    with pytest.raises(ValueError, match=r"paper/variants\.json should name the shared stages.*`lavis-tldr reduce`"):
        report(run, "000000003")
    (run / "paper/variants.json").unlink()
    with pytest.raises(ValueError, match=r"paper lacks variants\.json.*run `lavis-tldr reduce` with its config once"):
        report(run, "000000003")
    # The other set is told of none the less.
    report(run / "best", "000000003")


def test_a_failed_record(run):
    facts, text = told(run, "000000005", "best")
    account = facts["sets"]["best"]
    assert (account["kept"], account["cluster"], account["distance"], account["alignment"]) == (False, None, None, None)
    assert facts["scores"] == {}
    assert "  error     empty caption" in text
    assert "  caption   (empty)" in text


def test_all_sets_are_told_of(run):
    outcome = uniform_outcome()
    for keys in PARTS.values():
        for key in keys:
            facts, text = told(run, key)
            assert list(facts["sets"]) == ["best", "paper"]
            assert facts["sets"]["best"]["kept"] == BEST[key][3]
            assert facts["sets"]["paper"]["kept"] == outcome[key][3]
            assert text.count("\nset ") == 2


def test_a_uniform_set_tells_the_draw(run):
    account = why(run, "000010001", "paper")["sets"]["paper"]
    # One of the two in the cluster is drawn.
    place = "1st" if account["kept"] else "2nd"
    assert account["explanation"].endswith(f": {place} of 2 in its cluster's draw (seed 42), of which 1 is kept")
    assert account["alignment"] is None


def test_hostile_keys_are_shown_as_escapes(run):
    facts, text = told(run, HOSTILE)
    assert facts["key"] == HOSTILE
    assert text.splitlines()[0] == "key         ph\\u202eoto\\n\\x1b[31mred, א.jpg#0"
    assert "\x1b" not in text and "\u202e" not in text
    assert "which other captions share" in text


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("00000000", r"Closest keys: '000000001', '000010001'"),
        (HOSTILE.removesuffix("#0"), r"an image with several captions, each a sample of its own: 'ph.*#0'\."),
        ("zzz", r"Keys are those of the source"),
        ("", r"Closest keys: "),
        ("\udcff", "no valid text"),
    ],
)
def test_an_unknown_key_gets_a_hint(run, key, hint):
    with pytest.raises(ValueError, match=hint):
        why(run, key)


def test_a_forgotten_key_prefix_is_told(tmp_path):
    parts = {part: [f"{part}/{key}" for key in ("a", "b")] for part in PARTS}
    write_encode(tmp_path, parts=parts)
    with pytest.raises(ValueError, match="key_prefix: true.*: '00000/b', '00001/b'"):
        why(tmp_path, "b")


def test_before_any_set(tmp_path):
    write_encode(tmp_path)
    facts, text = told(tmp_path, "000010002")
    assert facts["source"]["part"] == "00001"
    assert facts["sets"] == {}
    assert text.endswith("sets        none has begun yet")


def test_while_encoding(tmp_path):
    write_encode(tmp_path, done=False, parts={"00000": PARTS["00000"]})
    assert why(tmp_path, "000000002")["source"]["part"] == "00000"
    with pytest.raises(ValueError, match="no sample with key '000010002' in the 1 parts encoded so far"):
        why(tmp_path, "000010002")


def test_clustered_but_not_selected(tmp_path):
    write_cluster(tmp_path, write_encode(tmp_path))
    (begin_set(tmp_path, "new") / "config.yaml").write_text("run: {name: new}\n")
    account = told(tmp_path, "000000003")[0]["sets"]["new"]
    assert (account["kept"], account["reason"], account["explanation"]) == (None, None, "not decided yet")
    assert account["cluster"] == {"id": 0, "of": 2, "size": 5, "kept": None, "quota": None}
    assert account["distance"]["rank"] == 3
    failed = told(tmp_path, "000000005")[0]["sets"]["new"]
    assert (failed["kept"], failed["reason"]) == (False, "failed: empty caption")


def test_selected_but_without_a_ledger(run):
    for stage in ("ledger", "build"):
        shutil.rmtree(run / "best" / stage)
    for key, (*_, reason, _understudy) in BEST.items():
        account = why(run, key, "best")["sets"]["best"]
        assert account["reason"] == reason
    assert "that one: not in the ledger" in why(run, "000000004", "best")["sets"]["best"]["explanation"]


def test_no_records_at_all(run):
    shutil.rmtree(run / "encode")
    assert why(run, "000000001")["sets"]["best"]["kept"]  # the ledger tells all
    for name in ("best", "paper"):
        shutil.rmtree(run / name / "ledger")
    with pytest.raises(ValueError, match="has no records yet"):
        why(run, "000000001")


@pytest.fixture
def repaired(run):
    """Set "best" with 000000002 lost: 000000003 was lost too, so 000010002 stands in; the twin of 1 is left."""
    outcome = dict(BEST)
    outcome["000000002"] = (0, 0.1, 0.4, False, "dropped: image gone missing", 0)
    outcome["000010002"] = (0, 0.4, 0.2, True, "kept: stands in for 000000002", 0)
    plan = {"replaced": {"000000002": "000010002"}, "understudies_lost": ["000000003"]}
    (run / "best/repaired.json").write_text(json.dumps(plan))
    refine = Stage.as_made(run / "best", "refine")
    for stage in ("ledger", "build"):
        shutil.rmtree(run / "best" / stage)
    rows = {"key": ["000010002"], "caption_generated": ["g"], "caption": ["c"], "caption_from": ["original"]}
    write_stage(run / "best/repair", {}, {"refine": refine.digest}, {"00001": rows}, {"read": 1})
    return run, refine, outcome


def explanations(run):
    return {key: why(run, key, "best")["sets"]["best"]["explanation"] for key in BEST}


def test_a_repaired_set(repaired):
    run, refine, outcome = repaired
    write_ledger(run / "best", refine, outcome)
    told = explanations(run)
    assert told["000000002"] == "dropped: image gone missing: 000010002 was taken to stand in for it"
    assert told["000010002"] == (
        "kept: stands in for 000000002, as the next understudy of its cluster; that one: dropped: image gone missing"
    )
    assert told["000000003"].endswith("its own image has gone missing as well")
    account = why(run, "000010002", "best")["sets"]["best"]
    assert (account["kept"], account["understudy"], account["captions"]["from"]) == (True, 0, "original")
    lost = why(run, "000000002", "best")["sets"]["best"]
    assert (lost["kept"], lost["captions"]["final"]) == (False, None)
    assert lost["cluster"] == {"id": 0, "of": 2, "size": 5, "kept": 2, "quota": 2}


def test_a_repair_cut_short_before_its_ledger(repaired):
    run, *_ = repaired
    assert why(run, "000000002", "best")["sets"]["best"]["reason"] == "dropped: image gone missing"
    account = why(run, "000010002", "best")["sets"]["best"]
    assert (account["reason"], account["kept"]) == ("kept: stands in for 000000002", True)
    assert account["captions"]["final"] == "c"


def row_of(key):
    cluster, distance, alignment, *_ = BEST[key]
    return {"key": key, "cluster": cluster, "distance": np.float32(distance), "alignment": np.float32(alignment)}


@pytest.mark.parametrize("table", ["ledger", "select"])
def test_standing_by_hand(run, table):
    # Cluster 0, nearest first: 2, 4, 3, 10002, 1. Best first, without 4 which repeats 1: 1, 2, 3, 10002.
    paths = sorted((run / "best" / table).glob("*.parquet"))
    standing = cluster_standing(paths, row_of("000010002"))
    assert standing == {
        "size": 5,
        "kept": 2,
        "num_filtered": 0,
        "num_repeats": 1,
        "distance_rank": 4,
        "alignment": {"rank": 4, "of": 4, "lowest_kept": pytest.approx(0.4)},
    }
    # A near duplicate is ranked as if it stayed: after 1, before 2, 3 and 10002.
    of_twin = cluster_standing(paths, row_of("000000004"))
    assert (of_twin["alignment"]["rank"], of_twin["alignment"]["of"], of_twin["num_repeats"]) == (2, 5, 0)
    assert cluster_standing(paths, row_of(HOSTILE))["alignment"]["rank"] == 1  # a tie
    assert count_kept(paths, 0) == 2
    assert count_kept(paths, 7) == 0


def test_clusters_alone_tell_size_and_distance(run):
    paths = sorted((run / "cluster/index-2").glob("*.parquet"))
    row = {"key": "000000001", "cluster": 0, "distance": np.float32(0.5)}
    assert cluster_standing(paths, row) == {"size": 5, "distance_rank": 5}


def write_parts(folder, columns, num_parts=3):
    folder.mkdir()
    table = pa.table(columns)
    bounds = np.linspace(0, table.num_rows, num_parts + 1).astype(int)
    paths = []
    for i, (start, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        paths.append(folder / f"{i}.parquet")
        pq.write_table(table.slice(start, end - start), paths[-1], row_group_size=7)
    return paths


@pytest.mark.parametrize("selection", ["easy_sample", "uniform", "random"])
def test_standing_against_a_naive_oracle(tmp_path, selection):
    rng = np.random.default_rng(3)
    keys = [f"{i:03}" for i in range(60)]
    clusters = rng.integers(0, 4, 60).astype(np.int32)
    distance = rng.integers(0, 9, 60).astype(np.float32)  # with ties
    alignment = np.where(rng.random(60) < 0.2, np.nan, rng.integers(0, 9, 60)).astype(np.float32)
    filtered = rng.random(60) < 0.2
    twins = np.where((rng.random(60) < 0.2) & ~filtered, "000", "")
    score = -distance if selection == "easy_sample" else np.full(60, np.nan, np.float32)
    options = {"seed": 5, "score": score, "passed": ~filtered, "duplicate_of": twins.tolist()}
    kept = select(keys, clusters, 0.4, **options, balance=0.0 if selection == "random" else 1.0)
    columns = {"key": keys, "cluster": clusters, "distance": distance, "alignment": alignment, "score": score}
    columns |= {"prototype_distance": distance, "kept": kept}
    of_select = write_parts(tmp_path / "select", columns | {"filtered": filtered, "duplicate_of": twins})
    reason = np.where(kept, "kept", np.where(filtered, "dropped: filtered: small gradient", "dropped: x"))
    reason = np.where(twins != "", "dropped: near duplicate of 000", reason)
    of_ledger = write_parts(tmp_path / "ledger", columns | {"reason": reason})
    for i in range(60):
        row = {name: values[i] for name, values in columns.items()}
        found = cluster_standing(of_ledger, row, "easy_sample")
        assert cluster_standing(of_select, row, "easy_sample") == found
        mates = [j for j in range(60) if clusters[j] == clusters[i]]
        assert found["size"] == len(mates)
        assert found["kept"] == count_kept(of_ledger, clusters[i]) == sum(kept[j] for j in mates)
        assert found["num_filtered"] == sum(filtered[j] for j in mates if j != i)
        assert found["num_repeats"] == sum(twins[j] != "" for j in mates if j != i)
        assert found["distance_rank"] == 1 + sum(distance[j] < distance[i] for j in mates)
        assert found["filter"] == {"rank": found["distance_rank"], "of": len(mates)}
        standing_in = [j for j in mates if j == i or not (filtered[j] or twins[j])]
        for name, values in (("alignment", alignment), ("score", score)):
            ranked = [j for j in standing_in if not np.isnan(values[j])]
            expected = {
                "rank": 1 + sum(values[j] > values[i] for j in ranked),
                "of": len(ranked),
                "lowest_kept": min((values[j] for j in ranked if kept[j]), default=None),
            }
            assert found.get(name) == (None if np.isnan(values[i]) else expected)
        if selection != "easy_sample" and not filtered[i] and not twins[i]:
            uniform = selection == "uniform"
            drawn = draw_standing(of_ledger, row, 5, in_cluster=uniform)
            assert draw_standing(of_select, row, 5, in_cluster=uniform) == drawn
            among = standing_in if uniform else [j for j in range(60) if not (filtered[j] or twins[j])]
            assert drawn["of"] == len(among) and drawn["kept"] == sum(kept[j] for j in among)
            priority = draw_priority([keys[j] for j in among], 5)
            assert drawn["rank"] == 1 + sum(priority < priority[among.index(i)])
            assert kept[i] == (drawn["rank"] <= drawn["kept"])  # the number in the draw is what decided
