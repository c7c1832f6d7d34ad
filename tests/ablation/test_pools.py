"""The comparisons on several pools (projects/tldr/pools): what they reduce, the noisier pool, the common table."""

import csv
import importlib.util
import tarfile
from pathlib import Path

import pytest

from lavis_tldr.ablation.settings import load_ablation
from lavis_tldr.scenes import draw_scenes
from lavis_tldr.stages.reduce_config import ReduceConfig
from lavis_tldr.train import load_user_config

POOLS = Path(__file__).parents[2] / "projects/tldr/pools"


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, POOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def members(folder: Path) -> dict[tuple[str, str], bytes]:
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found |= {(path.name, member.name): tar.extractfile(member).read() for member in tar}
    return found


def test_scenes_are_reduced_with_the_defaults(monkeypatch):
    monkeypatch.setenv("POOL", "runs/pools/scenes20")
    config = load_user_config(POOLS / "scenes_reduce.yaml")
    assert config.datasets.tldr_source.source.tars == "runs/pools/scenes20/scenes/*.tar"
    assert ReduceConfig.from_run(config.run).recipe == "gated_drawn"


def test_a_share_of_the_captions_is_swapped_and_nothing_else(tmp_path, monkeypatch):
    draw_scenes(tmp_path / "a", num_samples=40, part_size=15, image_size=32)
    swap = load("swap_captions")
    for target, seed in (("b", 0), ("c", 0), ("d", 1)):
        arguments = ["swap", str(tmp_path / "a"), str(tmp_path / target), "--share", "0.25", "--seed", str(seed)]
        monkeypatch.setattr("sys.argv", arguments)
        swap.main()
    before, after, again, other = (members(tmp_path / name) for name in "abcd")
    assert list(before) == list(after)
    changed = {name for _, name in (key for key in before if before[key] != after[key])}
    assert all(name.endswith(".txt") for name in changed)
    assert 0 < len(changed) <= 10  # of two scenes with one caption nothing shows
    captions = [sorted(found[key] for key in found if key[1].endswith(".txt")) for found in (before, after)]
    assert captions[0] == captions[1]
    assert after == again != other


def test_each_of_the_drawn_has_another_s_caption():
    swap = load("swap_captions").swap
    captions = {("a.tar", str(i)): str(i).encode() for i in range(20)}
    assert swap(captions, 0.0, 0) == captions
    moved = swap(captions, 1.0, 0)
    assert sorted(moved.values()) == sorted(captions.values())
    assert all(moved[key] != captions[key] for key in captions)


def test_the_table_has_a_column_for_each_pool(tmp_path, monkeypatch):
    table = load("table")
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    fields = ["arm", "mean_recall", "mean_recall_deviation", "note"]
    for pool, rows in {
        "photos": [("whole", 30.04, 1.25, ""), ("new", "", "", "failed: x")],
        "scenes20": [("whole", 50, "", "")],
    }.items():
        with (tmp_path / f"{pool}_recipes.csv").open("w", newline="") as file:
            csv.writer(file).writerows([fields, *rows])
    assert table.rows_of("recipes") == [
        "| recipes | scenes, 20% wrong | photos |",
        "| --- | --- | --- |",
        "| whole | 50.0 ± 0.0 | 30.0 ± 1.2 |",
        "| new |  | failed: x |",
    ]
    assert "no results" in table.rows_of("criteria")[0]


@pytest.mark.parametrize("name", ["criteria", "recipes"])
def test_the_results_kept_have_every_arm(name):
    arms = [arm.name for arm in load_ablation(POOLS / f"{name}.yaml").arms]
    for path in (POOLS / "results").glob(f"*_{name}.csv"):
        assert list(load("table").read(path)) == arms, path
