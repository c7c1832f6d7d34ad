"""The scaling benchmark does what its table says."""

import importlib.util
import logging
from argparse import Namespace
from pathlib import Path

import lavis_tldr
from lavis_tldr.runs.ledger import iter_ledger
from lavis_tldr.runs.outcomes import summarise

SCRIPT = Path(lavis_tldr.__file__).parents[1] / "projects/tldr/scaling/scaling.py"


def load():
    spec = importlib.util.spec_from_file_location("scaling", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_step_runs_on_a_small_set(tmp_path, monkeypatch, capsys):
    scaling = load()
    sizes = {"samples": [2000], "part_size": 700, "num_clusters": 20}
    monkeypatch.setattr(logging.root.manager, "disable", logging.root.manager.disable)
    for step in scaling.STEPS:
        args = Namespace(out=tmp_path, step=step, representation="embedding", duplicate_threshold=None, **sizes)
        scaling.run_step(args)
        seconds, before, after = map(float, capsys.readouterr().out.split())
        assert seconds > 0 and after >= before > 0
    run = scaling.run_folder(args)
    counts = summarise(iter_ledger(run / "best"), 20)
    failed = counts["failed"]["unreadable image: drawn"]
    assert counts["read"] == 2000 and 0 < failed < 100
    assert counts["kept"] == round((2000 - failed) / 4)
    assert len((run / "best/build/keys.txt").read_text().split()) == counts["kept"]


def test_the_table_keeps_the_rows_of_other_runs(tmp_path):
    scaling = load()

    def measure(samples, stage, seconds, kind="embedding"):
        row = {"representation": kind, "samples": str(samples), "stage": stage, "seconds": seconds}
        scaling.write_results({**row, "peak_mib": 1500, "of_imports_mib": 1100}, tmp_path)

    measure(1000, "cluster", 2.5)
    measure(1000000, "cluster", 60.0)
    measure(1000, "select", 1.0)
    measure(1000, "cluster", 3.0)
    measure(1000, "cluster", 9.0, "histogram")
    lines = (tmp_path / "scaling.md").read_text().splitlines()
    assert lines[0] == "| clustered | stage | 1,000 samples | 1,000,000 samples |"
    assert lines[2] == "| embedding | cluster | 3 s, 1,500 MiB | 60 s, 1,500 MiB |"
    assert lines[3] == "| embedding | select | 1 s, 1,500 MiB |  |"
    assert "| histogram | cluster | 9 s, 1,500 MiB |  |" in lines
