"""``lavis-tldr ablate`` hands its arguments on, and has the grid's status."""

import sys
import types

import pytest

from lavis_tldr import cli


@pytest.mark.parametrize(("fine", "status"), [(True, 0), (False, 1)])
def test_ablate(monkeypatch, fine, status):
    calls = []

    def ablate(*arguments, **named):
        calls.append((arguments, named))
        return fine

    monkeypatch.setitem(sys.modules, "lavis_tldr.ablation.grid", types.SimpleNamespace(ablate=ablate))
    assert cli.main(["ablate", "--cfg-path", "a.yaml", "b.yaml"]) == status
    chosen = ["--arm", "x", "--arm", "y, 10%", "--restart", "x", "--dry-run", "--options", "seeds=5"]
    assert cli.main(["ablate", "--cfg-path", "a.yaml", *chosen]) == status
    assert calls == [
        ((["a.yaml", "b.yaml"],), {"arms": [], "restart": [], "dry_run": False, "options": []}),
        ((["a.yaml"],), {"arms": ["x", "y, 10%"], "restart": ["x"], "dry_run": True, "options": ["seeds=5"]}),
    ]


def test_a_missing_file_is_one_line(capsys):
    assert cli.main(["ablate", "--cfg-path", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err.startswith("lavis-tldr: error: there is no config file 'nowhere.yaml'")


def test_many_processes_are_refused(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["ablate", "--cfg-path", "nowhere.yaml"]) == 2
    assert "ablate is one process" in capsys.readouterr().err
