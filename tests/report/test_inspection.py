"""What a run's manifests say, of whole, unfinished, damaged and altered runs, and whether its files are still these."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from run_folders import BEST, PARTS, SEED, begin_set, write_cluster, write_encode, write_select, write_stage

from lavis_tldr import __version__
from lavis_tldr.report.inspection import inspect_run, resume_command, verify_run
from lavis_tldr.report.inspection_text import inspection_lines, verification_lines
from lavis_tldr.runs.stage_folder import Stage


def told(run, name=None, **options):
    facts = inspect_run(run, name)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    return facts, "\n".join(inspection_lines(facts, **options))


def test_a_whole_run(run):
    facts, text = told(run)
    assert facts["package_versions"] == [__version__]
    encode = facts["stages"]["encode"]
    size = sum(path.stat().st_size for path in (run / "encode").glob("*.parquet"))
    assert encode == {
        "state": "done",
        "package_version": __version__,
        "config": {"bf16": True},
        "inputs": {
            "model": "0123456789abcdef0123456789abcdef",
            "part 00000": "00000" * 6,
            "part 00001": "00001" * 6,
        },
        "counts": {"read": 8, "written": 7, "failed": 1},
        "seconds": 10.0,
        "rate": 0.8,
        "parts": {"00000": {"read": 5, "seconds": 2.0}, "00001": {"read": 3, "seconds": 3.5}},
        "files": 2,
        "bytes": size,
        "missing": [],
        "num_parts": 2,
        "changed_inputs": [],
    }
    assert list(facts["sets"]) == ["best", "paper"]
    best = facts["sets"]["best"]
    assert best["config"] == str(run / "best/config.yaml")
    assert list(facts["stages"]) == ["encode", "caption", "score/similarity", "cluster/index-2"]
    assert best["uses"] == ["encode", "caption", "score/similarity", "cluster/index-2"]
    assert facts["sets"]["paper"]["uses"] == ["encode", "cluster/index-2"]
    assert [stage["state"] for stage in best["stages"].values()] == ["done"] * 4
    assert best["stages"]["select"]["config"]["seed"] == SEED
    assert best["next"] is None
    assert "encode      done in 10.0 s (48/min); read 8, failed 1, written 7; 2 files, " in text
    assert "  inputs    model 0123456789ab, 2 source parts" in text
    assert "  slowest   00001 3.5 s, 00000 2.0 s (median of 2 parts 2.8 s)" in text  # (3.5 + 2.0) / 2 = 2.75
    assert "to do" not in text
    assert "cluster     index-2: done in 10.0 s (42/min); read 7, clusters 2, empty 0; 2 files, " in text
    assert "score       similarity: done in " in text
    assert "  uses      encode, cluster/index-2\n" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_one_set(run):
    assert list(told(run, "paper")[0]["sets"]) == ["paper"]
    facts, text = told(run / "best")
    assert facts["run"] == str(run)
    assert list(facts["sets"]) == ["best"]
    assert "set paper" not in text


def test_table_of_parts(run):
    _, text = told(run, "best", with_parts=True)
    lines = text.splitlines()
    start = lines.index("  part   read   time    rate  source digest")
    assert lines[start + 1 : start + 3] == [
        "  00000     5  2.0 s   2.5/s   000000000000",
        "  00001     3  3.5 s  51/min   000010000100",  # 3 / 3.5 s
    ]
    assert "slowest" not in text


def test_an_unfinished_stage_says_how_far_it_is_and_what_to_run(tmp_path):
    write_encode(tmp_path, done=False, parts={"00000": PARTS["00000"]})
    (begin_set(tmp_path, "new") / "config.yaml").write_text("run: {name: new}\n")
    (tmp_path / "encode/.tmp-host-1-00001.parquet").write_bytes(b"half")
    facts, text = told(tmp_path)
    encode = facts["stages"]["encode"]
    assert (encode["state"], encode["num_parts"], encode["missing"]) == ("unfinished", 2, ["00001"])
    assert encode["parts"] == {"00000": {"read": 5, "seconds": 2.0}}
    assert "encode      unfinished: 1 of 2 parts done, 1 file, " in text
    assert "; first missing: 00001" in text
    assert "cluster     index-2: not begun" in text
    assert f"to do       lavis-tldr reduce --cfg-path {tmp_path}/new/config.yaml" in text
    assert facts["sets"]["new"]["next"] == f"lavis-tldr reduce --cfg-path {tmp_path}/new/config.yaml"


def test_a_build_under_way_counts_the_parts_that_are_ready(run):
    stage = Stage.as_made(run / "best", "build")
    stage.restart()
    stage.open()
    stage.scratch.mkdir()
    (stage.scratch / "00001.jsonl").write_text("{}\n")
    (stage.scratch / ".tmp-host-1-00000.jsonl").write_text("{")
    facts, text = told(run, "best")
    assert facts["sets"]["best"]["stages"]["build"]["missing"] == ["00000"]
    assert "build       unfinished: 1 of 2 parts done, 1 file, 3 B; first missing: 00000" in text


def test_notes_of_parts_are_told_without_their_digests(tmp_path):
    stage = write_encode(tmp_path, done=False, parts={"00000": PARTS["00000"]})
    stage.note_part("00000", {"read": 5, "seconds": 1.0, "bytes": 7, "digest": "d"})
    assert inspect_run(tmp_path)["stages"]["encode"]["parts"] == {"00000": {"read": 5, "seconds": 1.0}}


def test_a_repair_is_told(run):
    plan = {"replaced": {"a": "b", "b": "c", "d": ""}, "understudies_lost": ["x"]}
    (run / "best/repaired.json").write_text(json.dumps(plan))
    facts, text = told(run)
    assert facts["sets"]["best"]["repairs"] == {"lost": 3, "replaced": 2, "without_stand_in": 1}
    assert facts["sets"]["paper"]["repairs"] is None
    assert "repaired    3 kept images lost since: 2 replaced, 1 without stand-in" in text
    # The plan is there, its captions are not made yet.
    assert text.count("repair      not begun") == 1
    assert facts["sets"]["best"]["next"] is not None


def test_a_damaged_plan_of_repairs_is_told(run):
    (run / "best/repaired.json").write_text("{}")
    with pytest.raises(ValueError, match=r"best/repaired\.json should say which images were replaced"):
        inspect_run(run)


def test_before_any_set(tmp_path):
    write_encode(tmp_path)
    facts, text = told(tmp_path)
    assert facts["sets"] == {}
    assert "sets        none yet" in text


def test_a_set_without_its_config(tmp_path):
    inputs = {"cluster": write_cluster(tmp_path, write_encode(tmp_path)).digest}
    write_select(begin_set(tmp_path, "old"), {}, inputs, BEST)
    assert told(tmp_path)[0]["sets"]["old"]["next"] == "lavis-tldr reduce --cfg-path CONFIG (the one of before)"


def test_scores_are_missed_where_a_set_needs_them_alone(run):
    shutil.rmtree(run / "score")
    facts, text = told(run)
    assert facts["stages"]["score/similarity"] == {"state": "not begun", "changed_inputs": []}
    assert facts["sets"]["paper"]["next"] is None
    assert facts["sets"]["best"]["next"] == f"lavis-tldr reduce --cfg-path {run}/best/config.yaml"
    assert "score       similarity: not begun" in text
    assert "\nscore " not in told(run, "paper")[1]


def test_all_variants_are_listed_and_of_one_set_its_own(run):
    encode = Stage.as_made(run, "encode")
    config = {"representation": "embedding", "num_clusters": 300}
    keys = {part: {"key": [], "cluster": [], "distance": []} for part in PARTS}
    name = "cluster/embedding-300-seed42"
    write_stage(run / name, config, {"encode": encode.digest}, keys, {"read": 7})
    write_stage(run / "score/likelihood", {}, {"encode": encode.digest}, {"00000": {"key": []}})  # unfinished
    facts, text = told(run)
    both = ["encode", "caption", "score/likelihood", "score/similarity", name, "cluster/index-2"]
    assert list(facts["stages"]) == both
    assert "cluster     embedding-300-seed42: done in 10.0 s" in text
    assert "score       likelihood: unfinished: 1 of 2 parts done" in text
    assert facts["sets"]["best"]["next"] is None
    assert all(len(line.replace(str(run), "RUN")) <= 100 for line in text.splitlines())
    assert list(told(run, "best")[0]["stages"]) == ["encode", "caption", "score/similarity", "cluster/index-2"]
    assert list(told(run / "paper")[0]["stages"]) == ["encode", "cluster/index-2"]


def test_a_variant_made_anew_is_told_where_it_matters(run):
    stage = Stage.as_made(run, "score", "similarity")
    stage.restart()
    write_stage(
        run / "score/similarity", {"alignment": "similarity"}, stage.inputs, {"00000": {"key": ["a"]}}, {"read": 1}
    )
    stages = {name: facts["stages"]["select"] for name, facts in inspect_run(run)["sets"].items()}
    assert {name: stage["changed_inputs"] for name, stage in stages.items()} == {"best": ["score"], "paper": []}


def test_a_lost_file(run):
    (run / "encode/00001.parquet").unlink()
    facts, text = told(run, "best")
    assert facts["stages"]["encode"]["state"] == "incomplete"
    assert "encode      incomplete: 1 of 2 files are gone (first: 00001.parquet)" in text
    assert facts["sets"]["best"]["next"] is not None


def test_a_stage_made_anew_is_told_where_it_matters(run):
    """The selection is made again, otherwise: what was made from the earlier one is not what it seems."""
    stage = Stage(run / "best", "select", {"selection": "uniform"}, {"cluster": "0" * 32})
    table = pq.read_table(run / "best/select/00000.parquet")
    stage.restart()
    stage.open()
    pq.write_table(table, stage.part_path("00000"))
    stage.finish({"read": 4}, 1.0)
    facts, text = told(run, "best")
    stages = facts["sets"]["best"]["stages"]
    assert stages["select"]["changed_inputs"] == ["cluster"]  # of this set's variant
    assert stages["refine"]["changed_inputs"] == ["select"]
    assert stages["ledger"]["changed_inputs"] == []
    assert text.count("  CHANGED   ") == 2
    assert "  CHANGED   select made anew or altered since: run reduce again" in text


def test_huge_counts_and_closing_figures(run):
    summary = {
        "counts": {
            "read": 40_000_000,
            "kept": 10_000_000,
            "kept_share": 0.25,
            "kept_share_usable": 0.26,
            "dropped": {"low alignment": 28_999_999, "near duplicate": 1},
            "failed": {"unreadable image: \x1b": 1_000_000},
            "caption_from": {"generated": 4_000_000, "original_generated": 6_000_000},
            "cluster_sizes": {"clusters": 3000, "empty": 2, "min": 0, "median": 13_333.5, "max": 1_234_567},
        },
        "codebook": {"num_codes": 3000, "perplexity": 1814.3, "dead_codes": 1},
        "stages": {},
    }
    (run / "best/summary.json").write_text(json.dumps(summary))
    facts, text = told(run, "best")
    assert facts["sets"]["best"]["summary"] == summary
    text = text.replace("\n            ", " ")
    assert (
        "outcome     40,000,000 read: 10,000,000 kept (25.0%), 29,000,000 dropped (low alignment 28,999,999, near "
        "duplicate 1), 1,000,000 failed (unreadable image: \\x1b 1,000,000)\n"
    ) in text
    assert "captions    generated 4,000,000, original and generated 6,000,000\n" in text
    assert "clusters    3,000 (2 empty) of 0 to 1,234,567 samples, median 13,333.5\n" in text
    assert text.endswith("codebook    perplexity 1,814.3 of 3,000, 1 dead")


@pytest.mark.parametrize("stage", ["encode", "best/refine", "cluster/index-2"])
@pytest.mark.parametrize("content", ["{", "[]", '{"stage": "encode"}'])
def test_a_damaged_manifest_is_told(run, stage, content):
    (run / stage / "manifest.json").write_text(content)
    name = {"best/refine": "refine", "cluster/index-2": "cluster"}.get(stage, stage)
    with pytest.raises(ValueError, match=rf"manifest\.json is no manifest \(.*`--restart {name}`"):
        inspect_run(run)


def test_a_damaged_summary_is_told(run):
    (run / "best/summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"best/summary\.json is no JSON"):
        inspect_run(run)


def test_no_such_run_or_set(run):
    with pytest.raises(ValueError, match="there is no run folder"):
        inspect_run(run / "nowhere")
    with pytest.raises(ValueError, match=r"holds no \w+( \w+)? 'worst'; it holds best, paper"):
        inspect_run(run, "worst")


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ("run: {name: a, stages: [], restart: []}", ""),
        ("run: {name: a}", ""),
        ("run:", ""),
        ("", ""),
        ("# Relative paths count from /\nrun: {restart: encode}", " --options 'run.restart=[]'"),
        ("run: {stages: [encode], restart: [a, b]}", " --options 'run.stages=[]' 'run.restart=[]'"),
        ("[1, 2]", ""),
        ("{", ""),
    ],
)
def test_the_command_to_take_up_a_reduction_undoes_what_was_asked_for_once(tmp_path, config, options):
    path = tmp_path / "config.yaml"
    path.write_text(config)
    assert resume_command(path) == f"lavis-tldr reduce --cfg-path {path}{options}"


def test_a_config_path_with_spaces_can_be_pasted(tmp_path):
    path = tmp_path / "my config.yaml"
    path.write_text("run: {}")
    assert resume_command(path) == f"lavis-tldr reduce --cfg-path '{path}'"


def test_the_command_to_take_up_a_reduction_without_its_config(tmp_path):
    assert resume_command(tmp_path / "none.yaml") == "lavis-tldr reduce --cfg-path CONFIG (the one of before)"


def test_verifying_an_untouched_run(run):
    # encode, caption, score and cluster 2 files each; each set 2 of select, refine and ledger, and 1 of build.
    checked = verify_run(run)
    assert (checked["files"], checked["changed"]) == (4 * 2 + 2 * 7, {})
    assert verification_lines(checked)[0].startswith("verified    22 files, ")
    assert verification_lines(checked)[0].endswith("all as their manifests say")
    # Set "paper" uses neither captions of all nor scores.
    assert verify_run(run, "paper")["files"] == 2 * 2 + 7
    assert verify_run(run, "best")["files"] == verify_run(run / "best")["files"] == 4 * 2 + 7


def test_what_has_changed_since_it_was_made(run):
    (run / "best/build/keys.txt").write_text("000000002\n")  # as long as before
    (run / "encode/00001.parquet").unlink()
    with open(run / "best/select/00000.parquet", "ab") as file:
        file.write(b"x")
    size = (run / "best/select/00000.parquet").stat().st_size
    checked = verify_run(run)
    assert checked["changed"] == {
        str(run / "encode/00001.parquet"): "is gone",
        str(run / "best/select/00000.parquet"): f"has {size:,} bytes, had {size - 1:,}",
        str(run / "best/build/keys.txt"): "has the same size but another content",
    }
    lines = "\n".join(verification_lines(checked))
    assert "3 changed since their stage finished" in lines
    assert f"  {run}/best/build/keys.txt has the same size but another content" in lines
    assert list(verify_run(run, "paper")["changed"]) == [str(run / "encode/00001.parquet")]


def test_every_variant_is_checked_whoever_uses_it(run):
    shutil.copytree(run / "cluster/index-2", run / "cluster/index-7")  # of no set any more
    assert verify_run(run)["files"] == 5 * 2 + 2 * 7
    for variant in ("cluster/index-7", "score/similarity"):
        (run / variant / "00000.parquet").unlink()
    assert verify_run(run)["changed"] == {
        str(run / "score/similarity/00000.parquet"): "is gone",
        str(run / "cluster/index-7/00000.parquet"): "is gone",
    }
    assert list(verify_run(run, "best")["changed"]) == [str(run / "score/similarity/00000.parquet")]
    assert verify_run(run, "paper")["changed"] == {}


def test_what_is_not_finished_is_not_checked(tmp_path):
    write_encode(tmp_path, done=False, parts={"00000": PARTS["00000"]})
    assert verify_run(tmp_path) == {"files": 0, "bytes": 0, "changed": {}}
