"""Who is heard at each verbosity, what a line looks like, and that every module logs by its own name."""

import argparse
import ast
import logging
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import lavis_tldr
from lavis_tldr import log

PACKAGE = Path(lavis_tldr.__file__).parent
LEVELS = ("debug", "info", "warning", "error", "critical", "exception", "log", "warn", "basicConfig")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """An environment that says nothing of verbosity or ranks."""
    monkeypatch.delenv(log.VARIABLE, raising=False)
    monkeypatch.delenv("RANK", raising=False)


def say_something():
    ours, lavis = logging.getLogger("lavis_tldr.stages.encode"), logging.getLogger()
    for level in ("debug", "info", "warning"):
        getattr(ours, level)("our %s", level)
        getattr(lavis, level)("their %s", level)


@pytest.mark.parametrize(
    ("verbosity", "told"),
    [
        ("quiet", ["warning: our warning", "warning: their warning"]),
        ("normal", ["our info", "warning: our warning", "warning: their warning"]),
        ("verbose", ["our debug", "our info", "their info", "warning: our warning", "warning: their warning"]),
    ],
)
def test_verbosities(capsys, verbosity, told):
    with log.to_stderr(verbosity):
        assert log.verbosity() == verbosity
        say_something()
    lines = capsys.readouterr().err.splitlines()
    assert [line[9:] for line in lines] == told
    assert all(re.match(r"\d\d:\d\d:\d\d \S", line) for line in lines)


def test_nothing_stays_behind():
    root, ours = logging.getLogger(), logging.getLogger("lavis_tldr")
    before = root.level, ours.level, list(root.handlers), list(warnings.filters)
    with log.to_stderr("normal"):
        assert (root.level, ours.level, list(root.handlers), list(warnings.filters)) != before
    assert (root.level, ours.level, list(root.handlers), list(warnings.filters)) == before
    assert log.VARIABLE not in os.environ


def test_children_are_told_by_the_environment(monkeypatch, capsys):
    with log.to_stderr("quiet"):
        said = "from lavis_tldr import log; print(log.verbosity())"
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "LAVIS_TLDR_NO_REGISTER": "1"}
        child = subprocess.run([sys.executable, "-c", said], env=environment, capture_output=True, text=True)
    assert child.stdout == "quiet\n"
    monkeypatch.setenv(log.VARIABLE, "verbose")
    with log.to_stderr():
        say_something()
    assert "our debug" in capsys.readouterr().err


def test_an_unknown_verbosity_is_refused(monkeypatch):
    monkeypatch.setenv(log.VARIABLE, "loud")
    with (
        pytest.raises(ValueError, match="LAVIS_TLDR_VERBOSITY is 'loud'; expected quiet, normal, verbose"),
        log.to_stderr(),
    ):
        pass


def test_other_ranks_warn_only_and_say_who_they_are(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "3")
    with log.to_stderr("verbose"):
        say_something()
    told = [line[9:] for line in capsys.readouterr().err.splitlines()]
    assert told == ["rank 3: warning: our warning", "rank 3: warning: their warning"]


def test_lavis_is_not_a_warning_when_it_merges(capsys):
    for verbosity in ("normal", "verbose"):
        with log.to_stderr(verbosity):
            logging.warning("rank 0 starts merging results.")
    assert capsys.readouterr().err.count("merging") == 1


@pytest.mark.parametrize(("verbosity", "heard"), [("normal", 2), ("verbose", 5)])
def test_warnings_that_no_user_can_act_on(verbosity, heard):
    def warn(module: str, category: type[Warning], message: str) -> None:
        warnings.warn_explicit(message, category, "file.py", 1, module=module)

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        with log.to_stderr(verbosity):
            warn("torch.jit._script", FutureWarning, "`torch.jit.script` is deprecated")
            warn("somewhere", UserWarning, "pkg_resources is deprecated as an API. See https://")
            warn("lavis.processors.randaugment", RuntimeWarning, "overflow encountered in scalar negative")
            warn("numpy", RuntimeWarning, "overflow encountered in scalar negative")
            warn("torch.utils", UserWarning, "this one matters")
    assert len(found) == heard
    assert "this one matters" in str(found[-1].message)


def test_what_is_set_up_already_is_left_alone(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with log.unless_set_up():
        say_something()
    assert capsys.readouterr().err.count("our info") == 1
    own = logging.NullHandler()
    logging.getLogger().addHandler(own)
    with log.unless_set_up():
        say_something()
        assert logging.getLogger().handlers == [own]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("verbosity", "on_terminal"), [("normal", 0), ("verbose", 1)])
def test_a_file_takes_what_the_terminal_is_spared(capsys, tmp_path, verbosity, on_terminal):
    with log.to_stderr(verbosity):
        with log.to_file(tmp_path / "folder/log.txt"):
            say_something()
        logging.getLogger("lavis_tldr.x").info("afterwards")
    written = (tmp_path / "folder/log.txt").read_text()
    assert [line.split(",", 1)[1][4:] for line in written.splitlines()][-2:] == [
        "[WARNING] our warning",
        "[WARNING] their warning",
    ]
    assert "[INFO] our info" in written and "[INFO] their info" in written and "afterwards" not in written
    told = capsys.readouterr().err
    assert told.count("our info") == told.count("their info") == on_terminal
    assert told.count("our warning") == told.count("afterwards") == 1


@pytest.mark.parametrize(
    ("arguments", "verbosity"), [([], None), (["-v"], "verbose"), (["--verbose"], "verbose"), (["--quiet"], "quiet")]
)
def test_options(arguments, verbosity):
    parser = argparse.ArgumentParser()
    log.add_options(parser)
    assert getattr(parser.parse_args(arguments), "verbosity", None) == verbosity


def root_logger_calls(source: str) -> list[str]:
    """Calls such as logging.info(...), and names such as info imported from logging."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "logging" and node.attr in LEVELS:
            found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module == "logging":
            found += [alias.name for alias in node.names if alias.name in LEVELS]
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_logs_to_the_root_logger(path):
    source = path.read_text(encoding="utf-8")
    assert root_logger_calls(source) == []
    assert "tqdm" not in source or path.name in ("log.py", "progress.py")


@pytest.mark.parametrize(
    "source", ["import logging\nlogging.info('x')", "from logging import warning", "logging.exception"]
)
def test_calls_of_the_root_logger_are_found(source):
    assert len(root_logger_calls(source)) == 1
