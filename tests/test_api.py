"""The Python interface hands over to what does the work, and gives back what that says."""

import types
from pathlib import Path

import pytest
from ledgers import file_run
from run_folders import BEST, write_run

from lavis_tldr.api import Run, open_run, reduce
from lavis_tldr.keep_list import KeepList


@pytest.fixture
def configs_run(monkeypatch, tmp_path):
    """Calls of train.run, recorded; each "runs" in a folder of the test's."""
    calls = []

    def run(config, options=()):
        calls.append((config, options))
        return types.SimpleNamespace(output_dir=tmp_path / "out", result={"lost": 1})

    monkeypatch.setattr("lavis_tldr.train.run", run)
    return calls


def test_reduce_gives_the_run(configs_run, tmp_path):
    given = ["run.seed=1"]
    assert reduce("a.yaml", options=given, stage="encode", restart="select") == Run(tmp_path / "out")
    assert reduce(Path("a.yaml")) == Run(tmp_path / "out")
    settings = ["run.seed=1", "run.stages=[encode]", "run.restart=select"]
    assert configs_run == [("a.yaml", settings), (Path("a.yaml"), [])]
    assert given == ["run.seed=1"]


def test_reduce_names_a_config_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="no config file 'nowhere.yaml'"):
        reduce("nowhere.yaml")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=f"there is no run folder {tmp_path / 'nowhere'}"):
        open_run(tmp_path / "nowhere")


def test_sets_of_a_run_and_of_a_set(tmp_path):
    write_run(tmp_path)
    assert open_run(tmp_path).sets() == ["best", "paper"]
    assert open_run(str(tmp_path / "paper")).sets() == ["paper"]


def test_ledger(tmp_path):
    run = open_run(write_run(tmp_path))
    table = run.ledger("best", ["key", "kept"])
    assert table.column_names == ["key", "kept"]
    assert {row["key"] for row in table.to_pylist() if row["kept"]} == {key for key, row in BEST.items() if row[3]}
    assert open_run(tmp_path / "best").ledger().num_rows == len(BEST)
    with pytest.raises(ValueError, match="best, paper"):
        run.ledger()


def test_inspect_verify_and_why(tmp_path):
    run = open_run(write_run(tmp_path))
    assert list(run.inspect()["sets"]) == ["best", "paper"]
    assert list(run.inspect("paper")["sets"]) == ["paper"]
    assert run.why("000000003", "best")["source"]["caption_original"] == "caption of 000000003"
    assert run.captions("best")["kept"] == 3
    assert run.verify()["changed"] == {}
    changed = tmp_path / "best/ledger/00000.parquet"
    changed.write_bytes(b"")
    assert list(run.verify("best")["changed"]) == [str(changed)]
    assert run.verify("paper")["changed"] == {}


def test_export(tmp_path):
    run = open_run(file_run(tmp_path / "run", {"a": 10, "b": 20}, dropped=["b"]))
    counts = run.export(tmp_path / "keys", "keys", name="best", caption="caption_original")
    assert (counts["read"], counts["kept"]) == (2, 1)
    keep = KeepList(tmp_path / "keys")
    assert ("a" in keep, "b" in keep) == (True, False)
    assert keep.recaption({"__key__": "a"})["txt"] == b"a old"
    with pytest.raises(ValueError, match="export format 'key' is unknown"):
        run.export(tmp_path / "other", "key")


def test_repair_runs_the_sets_own_config_where_it_lies_now(configs_run, tmp_path, monkeypatch):
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert open_run("best").repair(decode=True, options=["run.seed=1"]) == {"lost": 1}
    config, options = configs_run[0]
    assert config == Path("best/config.yaml")
    assert options == [
        *("run.task=tldr_repair", f"run.output_dir={tmp_path}", "run.name=best", "run.stages=[]", "run.restart=[]"),
        *("run.repair_decode=True", "run.repair_dry_run=False", "run.seed=1"),
    ]


def test_repair_needs_the_config_that_a_reduction_leaves(configs_run, tmp_path):
    write_run(tmp_path)
    with pytest.raises(ValueError, match=rf"{tmp_path / 'paper'} lacks config.yaml"):
        open_run(tmp_path).repair("paper")
    assert configs_run == []
