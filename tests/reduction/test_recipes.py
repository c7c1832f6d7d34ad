"""One recipe of a run folder is found by name, and the names are told where that fails."""

import pytest

from lavis_tldr.reduction.recipes import find_recipe, is_recipe, locate_run, recipe_names


def add_stage(folder):
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")


@pytest.fixture
def run(tmp_path):
    """A run folder with shared stages, two recipes (one that has only just begun) and a folder that is none."""
    add_stage(tmp_path / "encode")
    add_stage(tmp_path / "score")
    add_stage(tmp_path / "paper" / "cluster")
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "config.yaml").write_text("run: {}\n")
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_names_are_sorted_and_shared_stages_are_none(run):
    assert recipe_names(run) == ["best", "paper"]
    assert not is_recipe(run)
    assert recipe_names(run / "nowhere") == []


def test_by_name(run):
    assert find_recipe(run, "paper") == run / "paper"


def test_name_may_be_left_out_where_there_is_one(tmp_path):
    add_stage(tmp_path / "only" / "select")
    assert find_recipe(tmp_path) == tmp_path / "only"
    assert find_recipe(str(tmp_path)) == tmp_path / "only"


def test_the_recipes_own_folder(run, monkeypatch):
    assert find_recipe(run / "paper") == run / "paper"
    assert find_recipe(run / "paper", "paper") == run / "paper"
    monkeypatch.chdir(run / "paper" / "cluster")
    assert find_recipe("..", "paper").resolve() == run / "paper"


def test_the_run_and_all_its_recipes(run, monkeypatch):
    assert locate_run(run) == (run, ["best", "paper"])
    assert locate_run(run, "paper") == (run, ["paper"])
    assert locate_run(run / "paper") == (run, ["paper"])
    monkeypatch.chdir(run / "paper")
    assert locate_run(".") == (run, ["paper"])
    with pytest.raises(ValueError, match="no recipe 'worst'"):
        locate_run(run, "worst")


def test_a_run_without_recipes_yet(tmp_path):
    with pytest.raises(ValueError, match="holds no recipe"):
        locate_run(tmp_path)
    add_stage(tmp_path / "encode")
    assert locate_run(tmp_path) == (tmp_path, [])


@pytest.mark.parametrize("stage", ["cluster", "select", "ledger", "build"])
def test_a_recipe_may_be_called_like_a_stage(tmp_path, stage):
    add_stage(tmp_path / stage / "cluster")
    assert find_recipe(tmp_path) == tmp_path / stage


@pytest.mark.parametrize(
    ("folder", "name", "told"),
    [
        (".", None, "several recipes: best, paper. Say which with --name"),
        (".", "notes", "no recipe 'notes'; it holds best, paper"),
        (".", "encode", "no recipe 'encode'; it holds best, paper"),
        (".", "../paper", "no recipe '../paper'"),
        ("notes", None, "holds no recipe"),
        ("encode", None, "holds no recipe"),
        ("nowhere", None, "there is no run folder"),
        ("paper", "best", "is the folder of recipe 'paper', not of 'best'"),
    ],
)
def test_what_is_wrong_is_told(run, folder, name, told):
    with pytest.raises(ValueError, match=told.replace(".", r"\.")):
        find_recipe(run / folder, name)
