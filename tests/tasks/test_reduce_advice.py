"""The advisor finds in a ledger what select has kept."""

import pytest
from reductions import ledger_rows

from lavis_tldr.advice.coverage import coverage_by_ratio
from lavis_tldr.advice.finished import FinishedSet
from lavis_tldr.advice.selections import check_kept, rule_of, stand_all

RECIPES = {
    "uniform": {},
    "random": {"selection": "random"},
    "aligned, best of all, without twins": {"selection": "aligned", "balance": 0.0, "duplicate_threshold": 0.9},
    "far ones of the better half": {"selection": "large_distance", "balance": 0.5, "prefilter": "aligned"},
    "hard, by density": {"selection": "hard_sample", "quota": "density"},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_its_own_ratio_keeps_what_select_has_kept(reduced, tmp_path, monkeypatch, recipe):
    reduced(keep_ratio=0.4, num_clusters=3, recipe="original", images="in_place", **RECIPES[recipe])
    monkeypatch.setattr("lavis_tldr.advice.selections._GROUP_ROWS", 20)  # as a set that does not fit in memory
    finished = FinishedSet(tmp_path / "out")
    standings = stand_all(finished, rule_of(finished))
    check_kept(finished, standings)
    keys = [key for name in finished.part_names for key in finished.samples(name, ["key"])["key"].to_pylist()]
    rows = ledger_rows(tmp_path / "out/reduced")
    flags = standings.kept(0.4)
    assert {key for key, kept in zip(keys, flags, strict=True) if kept} == {key for key in rows if rows[key]["kept"]}
    whole, own = coverage_by_ratio(finished, standings, [None, 0.4], 0.97)
    assert whole["pairs"] == 43 and own["pairs"] == flags.sum() > 10
    assert whole["clusters"] == 3 and own["codes_seen"] <= whole["codes_seen"] <= 1
