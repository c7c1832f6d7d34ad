"""What works with the base dependencies alone: no LAVIS, no torch. Fails at the first thing that does not.

    python tests/helpers/without_lavis.py FOLDER

Fills FOLDER with finished runs made by hand, and reads, traces and exports them by command and from Python.
`tests/test_without_lavis.py` runs it with imports blocked, `run_scripts/without_lavis.sh` in an environment of its own.
"""

import contextlib
import io
import sys
from pathlib import Path

import pyarrow.parquet as pq
from ledgers import sample, tar_run, write_tar
from run_folders import BEST, write_run

from lavis_tldr import cli
from lavis_tldr.api import open_run
from lavis_tldr.keep_list import KeepList
from lavis_tldr.runs.ledger import read_ledger

KEPT = {"a", "c"}


def told(*command: str, status: int = 0) -> str:
    """What a command writes, after a check of its exit status."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        found = cli.main(command)
    text = shown.getvalue()
    assert found == status, f"lavis-tldr {' '.join(command)}: status {found}, expected {status}\n{text}"
    print(f"lavis-tldr {' '.join(command)}: {len(text.splitlines())} lines")
    return text


def check_reports(run: Path) -> None:
    assert "best" in told("inspect", str(run), "--verify")
    assert "low alignment" in told("why", str(run), "000000003")
    told("captions", str(run), "--name", "best")
    assert read_ledger(run / "best").num_rows == len(BEST)
    assert open_run(run).sets() == ["best", "paper"]
    assert open_run(run).ledger("best", ["key"]).column_names == ["key"]


def check_exports(run: Path) -> None:
    for file_format in ("lavis", "keys", "webdataset", "parquet"):
        assert "kept 2" in told("export", str(run), "--out", f"{run}-{file_format}", "--format", file_format)
    assert set(pq.read_table(f"{run}-parquet/00000.parquet")["key"].to_pylist()) == KEPT
    keep = KeepList(f"{run}-keys")
    assert {key for key in "abc" if keep({"__key__": key})} == KEPT
    assert keep.recaption({"__key__": "c", "txt": "c old"})["txt"] == "c both"


def check_explanations(folder: Path) -> None:
    """What can't be done without LAVIS says so, in one line."""
    for command in (
        ("reduce", "--cfg-path", "reduce.yaml"),
        ("train", "--cfg-path", "train.yaml"),
        ("ablate", "--cfg-path", "figure1.yaml"),
        ("advise", str(folder)),
        ("offline", "--dir", str(folder / "offline")),
    ):
        text = told(*command, status=2)
        assert text.count("\n") == 1 and "pip install 'lavis_tldr[lavis]'" in text, text


def main(folder: Path) -> None:
    check_reports(write_run(folder / "reported"))
    tar = write_tar(folder / "tars/00000.tar", {**sample("a", 10), **sample("b", 20), **sample("c", 30)})
    check_exports(tar_run(folder / "exported", [tar], dropped=["b"]))
    check_explanations(folder)
    loaded = {"lavis", "torch"} & {name for name, module in sys.modules.items() if module is not None}
    assert not loaded, f"imported: {sorted(loaded)}"
    print("all of it works without LAVIS and torch")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
