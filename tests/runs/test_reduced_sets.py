"""One set of a run folder is found by name, and the stages that it shares by what it has noted of them."""

import json

import pytest

from lavis_tldr.runs.reduced_sets import (
    find_set,
    is_set,
    locate_run,
    note_variants,
    set_names,
    shared_folders,
    stage_folders,
    stage_name,
)


def add_stage(folder):
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")


@pytest.fixture
def run(tmp_path):
    """A run folder with shared stages, two recipes (one that has only just begun) and a folder that is none."""
    for stage in ("encode", "score/contrastive", "score/likelihood", "cluster/index-4-seed1", "cluster/index-8-seed1"):
        add_stage(tmp_path / stage)
    add_stage(tmp_path / "paper" / "select")
    note_variants(tmp_path / "paper", {"encode": "", "cluster": "index-4-seed1"})
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "config.yaml").write_text("run: {}\n")
    used = {"encode": "", "caption": "", "score": "both", "cluster": "index-4-seed1"}
    note_variants(tmp_path / "best", used)
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_names_are_sorted_and_shared_stages_are_none(run):
    assert set_names(run) == ["best", "paper"]
    assert not is_set(run)
    assert set_names(run / "nowhere") == []


def test_by_name(run):
    assert find_set(run, "paper") == run / "paper"


def test_name_may_be_left_out_where_there_is_one(tmp_path):
    add_stage(tmp_path / "only" / "select")
    assert find_set(tmp_path) == tmp_path / "only"
    assert find_set(str(tmp_path)) == tmp_path / "only"


def test_the_recipes_own_folder(run, monkeypatch):
    assert find_set(run / "paper") == run / "paper"
    assert find_set(run / "paper", "paper") == run / "paper"
    monkeypatch.chdir(run / "paper" / "select")
    assert find_set("..", "paper").resolve() == run / "paper"


def test_the_run_and_all_its_recipes(run, monkeypatch):
    assert locate_run(run) == (run, ["best", "paper"])
    assert locate_run(run, "paper") == (run, ["paper"])
    assert locate_run(run / "paper") == (run, ["paper"])
    monkeypatch.chdir(run / "paper")
    assert locate_run(".") == (run, ["paper"])
    with pytest.raises(ValueError, match="no reduced set 'worst'"):
        locate_run(run, "worst")


def test_a_run_without_recipes_yet(tmp_path):
    with pytest.raises(ValueError, match="holds no reduced set"):
        locate_run(tmp_path)
    add_stage(tmp_path / "encode")
    assert locate_run(tmp_path) == (tmp_path, [])
    assert shared_folders(tmp_path, []) == {"encode": tmp_path / "encode"}


@pytest.mark.parametrize("stage", ["select", "ledger", "build"])
def test_a_recipe_may_be_called_like_a_stage(tmp_path, stage):
    add_stage(tmp_path / stage / "select")
    assert find_set(tmp_path) == tmp_path / stage


@pytest.mark.parametrize(
    ("folder", "name", "told"),
    [
        (".", None, "several reduced sets: best, paper. Say which with --name"),
        (".", "notes", "no reduced set 'notes'; it holds best, paper"),
        (".", "encode", "no reduced set 'encode'; it holds best, paper"),
        (".", "cluster", "no reduced set 'cluster'; it holds best, paper"),
        (".", "../paper", "no reduced set '../paper'"),
        ("notes", None, "holds no reduced set"),
        ("encode", None, "holds no reduced set"),
        ("score", None, "holds no reduced set"),
        ("cluster/index-4-seed1", None, "holds no reduced set"),
        ("nowhere", None, "there is no run folder"),
        ("paper", "best", "is the folder of reduced set 'paper', not of 'best'"),
    ],
)
def test_what_is_wrong_is_told(run, folder, name, told):
    with pytest.raises(ValueError, match=told.replace(".", r"\.")):
        find_set(run / folder, name)


def test_stages_that_a_recipe_uses(run, monkeypatch):
    own = {stage: run / "best" / stage for stage in ("select", "refine", "repair", "ledger", "build")}
    shared = {"encode": "encode", "caption": "caption", "score": "score/both", "cluster": "cluster/index-4-seed1"}
    assert stage_folders(run / "best") == {**{stage: run / path for stage, path in shared.items()}, **own}
    assert list(stage_folders(run / "paper")) == ["encode", "cluster", *own]
    monkeypatch.chdir(run / "best")
    assert [folder.resolve() for folder in stage_folders(".").values()] == list(stage_folders(run / "best").values())


def test_shared_stages_of_all_recipes_and_of_some(run):
    used = ["encode", "caption", "score/both", "cluster/index-4-seed1"]  # score/both has not begun
    begun = ["encode", "caption", "score/both", "score/contrastive", "score/likelihood"]
    begun += ["cluster/index-4-seed1", "cluster/index-8-seed1"]
    assert list(shared_folders(run, ["best"])) == used
    assert list(shared_folders(run, ["paper"])) == ["encode", "cluster/index-4-seed1"]
    assert shared_folders(run, ["best", "paper"]) == {name: run / name for name in begun}


def test_a_relative_run_folder_stays_relative(run, monkeypatch):
    monkeypatch.chdir(run.parent)
    folders = shared_folders(run.name, ["best"])
    assert str(folders["cluster/index-4-seed1"]) == f"{run.name}/cluster/index-4-seed1"


def test_a_recipe_without_its_note(run):
    (run / "paper/variants.json").unlink()
    with pytest.raises(ValueError, match=r"paper lacks variants\.json.*run `lavis-tldr reduce` with its config once"):
        stage_folders(run / "paper")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"cluster": 4}', '{"score": "both"}'])
def test_a_damaged_note(run, content):
    (run / "paper/variants.json").write_text(content)
    with pytest.raises(ValueError, match=r"paper/variants\.json should name the shared stages.*`lavis-tldr reduce`"):
        stage_folders(run / "paper")


def test_a_note_reads_well(run):
    text = (run / "paper/variants.json").read_text()
    assert text.endswith("}\n") and json.loads(text) == {"cluster": "index-4-seed1", "encode": ""}


def test_name_of_a_stage_by_its_folder(run):
    assert stage_name(run / "encode") == "encode"
    assert stage_name(run / "paper/select") == "select"
    assert stage_name(run / "cluster/index-4-seed1") == "cluster"
