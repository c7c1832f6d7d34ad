"""Grids over tiny reductions: what is run, what is not run again, and what fails alone."""

import csv
import json

import pytest
from lavis_tldr.reduction.ledger import read_ledger


def results(grid):
    return {path.name: json.loads(path.read_text()) for path in (grid.results / "results").glob("*.json")}


def test_each_arm_and_seed_is_a_reduction_of_its_own(grid):
    assert grid.run()
    found = results(grid)
    assert set(found) == {f"{arm}-seed{seed}.json" for arm in ("whole_set", "half", "quarter") for seed in (0, 1)}
    print(grid.said)
    kept = {
        name: set(table.filter(table["kept"])["key"].to_pylist())
        for name in ("whole_set-seed0", "half-seed0", "half-seed1", "quarter-seed0")
        for table in [read_ledger(grid.root / f"tiny-{name}", ["key", "kept"])]
    }
    assert len(kept["whole_set-seed0"]) == 43
