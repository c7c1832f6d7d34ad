"""A reduction killed again and again, and taken up each time by another number of ranks, ends as one left alone.

FAULT_SEED=n in the environment draws other moments.
"""

import shutil
from itertools import count
from pathlib import Path

import pytest
from contents import contents_of, differences
from killer import Killer

from lavis_tldr.runs import stages

# Nothing is lost here, and nothing selected by its gradient.
STAGES = [name for name in stages.STAGES if name not in ("repair", "gradient")]
OF_ANOTHER_SET = ["cluster", "select", "refine", "ledger", "build"]
LEAST_KILLS, LEAST_PER_STAGE = 24, 2
REPAIRS = 6


def test_killed_at_any_moment_and_resumed(forked_ranks, configure, tmp_path):
    alone = forked_ranks.reduce(configure("alone"))
    assert alone.succeeded, alone.log
    assert [phase for phase in alone.phases if phase in STAGES] == STAGES
    expected = contents_of(tmp_path / "alone")

    killer = Killer(forked_ranks.reduce, alone.phases)
    for life in count():
        run = tmp_path / f"life{life}"
        live(killer, configure(run.name), STAGES)
        different = differences(contents_of(run), expected)
        assert not different, f"{different}\n{killer.told()}"
        if sum(killer.kills.values()) >= LEAST_KILLS and min(killer.kills[name] for name in STAGES) >= LEAST_PER_STAGE:
            break


def live(killer: Killer, config: Path, names: list[str]) -> None:
    """A run to its end: each of these stages dies at an event, some once more after a time."""
    killer.story.clear()
    for stage in names:
        ended = killer.attempt(config, killer.at_an_event(stage, killer.events[stage]))
        assert not ended, f"{stage} was to be killed\n{killer.told()}"
        if killer.draw.random() < 0.5 and killer.attempt(config, killer.after_a_time(stage)):
            return
    assert killer.attempt(config, None), killer.told()


def test_another_recipe_killed_beside_a_finished_one(forked_ranks, configure, tmp_path):
    """Its clusters lie beside those of the first recipe, which it leaves as they are."""

    def reduce(config, **how):
        return forked_ranks.reduce(config, "run.name=other", "run.num_clusters=3", **how)

    first = forked_ranks.reduce(configure("first"))
    assert first.succeeded, first.log
    before = contents_of(tmp_path / "first")
    for name in ("alone", "life"):
        shutil.copytree(tmp_path / "first", tmp_path / name)
    alone = reduce(configure("alone"))
    assert alone.succeeded, alone.log
    expected = contents_of(tmp_path / "alone")
    new = differences(before, expected)
    assert {"cluster/histogram-tfidf-3-seed42/centroids.npy", "other/build/keys.txt"} <= set(new)
    assert {name.split("/")[0] for name in new if "." in name} <= {"cluster", "other", "log.txt"}

    killer = Killer(reduce, alone.phases)
    live(killer, configure("life"), OF_ANOTHER_SET)
    different = differences(contents_of(tmp_path / "life"), expected)
    assert not different, f"{different}\n{killer.told()}"


@pytest.fixture
def repaired(forked_ranks, tars, configure, tmp_path):
    """A finished reduction that then loses a tar: a function that repairs it, and one that copies its run folder."""
    shutil.copytree(tars.folder / "tars", tmp_path / "tars")
    here = f"datasets.tldr_source.source.tars={tmp_path}/tars/*.tar"
    made = forked_ranks.reduce(configure("made", images="in_place"), here)
    assert made.succeeded, made.log
    (tmp_path / "tars/00002.tar").unlink()

    def repair(config, **how):
        return forked_ranks.reduce(config, here, "run.task=tldr_repair", **how)

    def copy(name):
        shutil.copytree(tmp_path / "made", tmp_path / name)
        return configure(name, images="in_place")

    return repair, copy


def test_repair_killed_at_any_moment_and_resumed(repaired, tmp_path):
    repair, copy = repaired
    alone = repair(copy("alone"))
    assert alone.succeeded, alone.log
    expected = contents_of(tmp_path / "alone")
    lost_nothing = contents_of(tmp_path / "made")
    assert {"reduced/ledger/00002.parquet", "reduced/build/keys.txt"} <= set(differences(lost_nothing, expected))

    killer = Killer(repair, alone.phases)
    num_events = sum(killer.events.values())
    for life in range(REPAIRS):
        run = tmp_path / f"life{life}"
        config = copy(run.name)
        killer.story.clear()
        kill = killer.at_an_event("any", num_events)
        assert not killer.attempt(config, kill), f"a repair was to be killed\n{killer.told()}"
        rest = num_events - kill["event"]
        if life % 2 or not rest or not killer.attempt(config, killer.at_an_event("any", rest)):
            assert killer.attempt(config, None), killer.told()
        different = differences(contents_of(run), expected)
        assert not different, f"{different}\n{killer.told()}"
