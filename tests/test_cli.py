"""The ``lavis-tldr`` command hands each command's arguments on, and shows users' errors in one line."""

import json
import os
import subprocess
import sys
import types
import warnings
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lavis_tldr
from lavis_tldr import cli, log, user_errors
from lavis_tldr.runs.stage_folder import Stage


@pytest.fixture
def runs(monkeypatch):
    """Calls of train.run, recorded."""
    calls = []

    def record(*arguments):
        calls.append(arguments)
        return types.SimpleNamespace(output_dir="out", result={"missing": 3, "replaced": 2})

    monkeypatch.setattr("lavis_tldr.train.run", record)
    return calls


def test_reduce_all_stages(runs):
    assert cli.main(["reduce", "--cfg-path", "a.yaml", "--options", "run.seed=1", "run.x=2"]) == 0
    assert runs == [("a.yaml", ["run.seed=1", "run.x=2"])]


def test_reduce_one_stage_again(runs):
    cli.main(["reduce", "--cfg-path", "a.yaml", "--stage", "encode", "--restart", "encode"])
    assert runs == [("a.yaml", ["run.stages=[encode]", "run.restart=encode"])]


def test_reduce_explained_runs_nothing(runs, configure, capsys, tmp_path):
    command = ["reduce", "--cfg-path", str(configure(balance=0.5, num_beams=2, recipe="gated_drawn")), "--explain"]
    assert cli.main([*command, "--options", "model.finetuned=absent.pth", "--stage", "cluster"]) == 0
    told = capsys.readouterr().out
    assert "cluster     histogram-tfidf-4-seed42: will run." in told and "select  " not in told
    assert "MISSING   the captioner: absent.pth (model.finetuned)" in told
    assert "MISSING   the stage encode" in told and "balance 0.5: it has one where a criterion selects" in told
    assert cli.main([*command, "--options", "run.objective=retrieval"]) == 0
    told = capsys.readouterr().out
    assert "short" not in told and "objective   retrieval" in told and "gated_drawn: pair by pair" in told
    assert runs == [] and not (tmp_path / "out").exists()
    assert cli.main([*command, "--options", "run.objective=retreival"]) == 2
    assert "did you mean 'retrieval'" in capsys.readouterr().err


def test_train(runs):
    cli.main(["train", "--cfg-path", "a.yaml"])
    assert runs == [("a.yaml", [])]


def test_draw_scenes_passes_only_what_was_given(monkeypatch):
    drawn = []
    scenes = types.SimpleNamespace(
        draw_scenes=lambda out, **settings: drawn.append((out, settings)),
        draw_clean_set=lambda out, **settings: drawn.append((out, settings)),
    )
    monkeypatch.setitem(sys.modules, "lavis_tldr.scenes", scenes)
    cli.main(["draw-scenes", "out", "--num-samples", "20", "--near-duplicates", "0.1"])
    assert drawn == [("out", {"num_samples": 20, "near_duplicates": 0.1})]
    drawn.clear()
    cli.main(["draw-scenes", "out", "--seed", "3", "--broken", "0", "--clean", "clean", "--num-clean", "9"])
    assert drawn == [("out", {"seed": 3, "broken": 0.0}), ("clean", {"seed": 3, "num_samples": 9})]


@pytest.fixture
def stand_in(monkeypatch):
    """``stand_in(module, function, result)``: the module replaced by one with this function; its calls."""

    def replace(module, function, result):
        calls = []

        def record(*arguments, **named):
            calls.append((arguments, named))
            return result

        monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{function: record}))
        return calls

    return replace


def test_export(stand_in, tmp_path, capsys):
    calls = stand_in("lavis_tldr.exports.export", "export_set", {"kept": 1_234_567, "files": 2})
    run = str(tmp_path)
    assert cli.main(["export", run, "--out", "DIR", "--format", "keys"]) == 0
    assert (
        cli.main(
            ["export", run, "--out", "DIR", "--format", "parquet", "--name", "best"]
            + ["--caption", "caption_original", "--num-workers", "4"]
        )
        == 0
    )
    where = (tmp_path, Path("DIR"))
    assert calls == [
        ((*where, "keys"), {"name": None, "caption": "caption", "num_workers": 1}),
        ((*where, "parquet"), {"name": "best", "caption": "caption_original", "num_workers": 4}),
    ]
    assert capsys.readouterr().out.splitlines()[0] == "exported to DIR: kept 1,234,567, files 2"


def test_export_names_what_it_exports(capsys):
    for wrong in (["--format", "zip"], ["--format", "keys", "--caption", "title"], []):
        with pytest.raises(SystemExit) as ended:
            cli.main(["export", "RUN", "--out", "DIR", *wrong])
        assert ended.value.code == 2
    assert "webdataset" in capsys.readouterr().err


def test_exports_choices_are_the_table_of_formats(capsys):
    from lavis_tldr.exports.formats import CAPTIONS, FORMATS

    with pytest.raises(SystemExit):
        cli.main(["export", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert f"--format {{{','.join(FORMATS)}}}" in told and f"--caption {{{','.join(CAPTIONS)}}}" in told
    assert all(f"{name}: {format.about}" in told for name, format in FORMATS.items())


def test_repair(runs, tmp_path, capsys):
    folder = tmp_path / "best"
    folder.mkdir()
    (folder / "config.yaml").write_text("run: {}")
    assert cli.main(["repair", str(tmp_path)]) == 0
    assert (
        cli.main(["repair", str(tmp_path), "--name", "best", "--decode", "--dry-run", "--options", "run.seed=1"]) == 0
    )
    shared = ["run.task=tldr_repair", f"run.output_dir={tmp_path}", "run.name=best", "run.stages=[]", "run.restart=[]"]
    assert runs == [
        (folder / "config.yaml", [*shared, "run.repair_decode=False", "run.repair_dry_run=False"]),
        (folder / "config.yaml", [*shared, "run.repair_decode=True", "run.repair_dry_run=True", "run.seed=1"]),
    ]
    told = "missing 3, replaced 2"
    assert capsys.readouterr().out.splitlines() == [f"repaired {tmp_path}: {told}", f"would repair {tmp_path}: {told}"]


@pytest.mark.parametrize("of", ["run/best", "run/best/ledger", "run/best/ledger/00000.parquet"])
def test_truth_is_told_by_the_recipes_name(monkeypatch, tmp_path, capsys, of):
    read = []
    rows = types.SimpleNamespace(to_pylist=lambda: ["rows"])
    monkeypatch.setattr("lavis_tldr.runs.ledger.read_ledger", lambda path: read.append(path) or rows)
    monkeypatch.setattr("lavis_tldr.scenes.truth.load_truth", lambda path: {"of": path})
    monkeypatch.setattr("lavis_tldr.scenes.truth.report", lambda *told: [repr(told)])
    assert cli.main(["truth", "truth.json", of, "other/paper", "--examples", "2"]) == 0
    assert read == [of, "other/paper"]
    assert capsys.readouterr().out == "({'best': ['rows'], 'paper': ['rows']}, {'of': 'truth.json'}, 2)\n"


def test_truth_tells_recipes_of_one_name_apart(monkeypatch, capsys):
    monkeypatch.setattr(
        "lavis_tldr.runs.ledger.read_ledger", lambda path: types.SimpleNamespace(to_pylist=lambda: [path])
    )
    monkeypatch.setattr("lavis_tldr.scenes.truth.load_truth", lambda path: {})
    monkeypatch.setattr("lavis_tldr.scenes.truth.report", lambda ledgers, *_: [repr(ledgers)])
    assert cli.main(["truth", "truth.json", "one/best", "two/best", "one/paper"]) == 0
    assert capsys.readouterr().out == "{'one/best': ['one/best'], 'two/best': ['two/best'], 'paper': ['one/paper']}\n"


def write_encoded(folder):
    """A run folder that has come as far as encoding one record."""
    stage = Stage(folder, "encode", {"seed": 1}, {"model": "ab" * 16, "part 0": "cd" * 16})
    stage.open()
    row = {"image_key": "-a", "caption_original": "caf\u00e9", "error": "", "image_path": "a.jpg"}
    table = {"key": "-a", **row, "image_offset": -1, "image_size": -1}
    pq.write_table(pa.table({name: [value] for name, value in table.items()}), stage.part_path("0"))
    stage.finish({"read": 1}, 1.0)
    return folder


def test_inspect(tmp_path, capsys):
    run = str(write_encoded(tmp_path))
    assert cli.main(["inspect", run]) == 0
    assert "encode      done in 1.0 s (1/s); read 1; 1 file, " in capsys.readouterr().out
    assert cli.main(["inspect", run, "--verify", "--parts"]) == 0
    assert "verified    1 file, " in capsys.readouterr().out
    assert cli.main(["inspect", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"]["encode"]["config"] == {"seed": 1}


def test_inspect_has_status_1_where_files_have_changed(tmp_path, capsys):
    run = str(write_encoded(tmp_path))
    (tmp_path / "encode/0.parquet").write_bytes(b"")
    assert cli.main(["inspect", run]) == 0
    assert cli.main(["inspect", run, "--verify"]) == 1
    assert "encode/0.parquet has 0 bytes, had " in capsys.readouterr().out
    assert cli.main(["inspect", run, "--verify", "--json"]) == 1
    assert list(json.loads(capsys.readouterr().out)["verified"]["changed"]) == [str(tmp_path / "encode/0.parquet")]


def test_why(tmp_path, capsys):
    run = str(write_encoded(tmp_path))
    assert cli.main(["why", run, "--", "-a"]) == 0
    assert "  source    part 0; a.jpg" in capsys.readouterr().out
    assert cli.main(["why", run, "--json", "--", "-a"]) == 0
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert json.loads(shown)["source"]["caption_original"] == "caf\u00e9"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["inspect", "{run}/nowhere"], "there is no run folder {run}/nowhere"),
        (["inspect", "{run}", "--name", "best"], "{run} holds no reduced set"),
        (["why", "{run}/nowhere", "a"], "there is no run folder {run}/nowhere"),
        (["why", "{run}", "a"], "{run} has no sample with key 'a'"),
    ],
)
def test_users_errors_of_the_reports(tmp_path, capsys, arguments, told):
    run = write_encoded(tmp_path)
    assert cli.main([argument.format(run=run) for argument in arguments]) == 2
    assert capsys.readouterr().err.startswith("lavis-tldr: error: " + told.format(run=run))


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    run = write_encoded(tmp_path)
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "lavis_tldr", "inspect", str(run)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_reports_import_neither_torch_nor_lavis(tmp_path):
    run = write_encoded(tmp_path)
    code = (
        "import sys; sys.argv = ['lavis-tldr']\n"
        "from lavis_tldr.cli import main\n"
        f"main(['inspect', {str(run)!r}, '--verify']); main(['why', {str(run)!r}, '--', '-a'])\n"
        "print(sorted({'torch', 'lavis'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_doctor_returns_its_exit_status(monkeypatch):
    monkeypatch.setattr("lavis_tldr.environment.doctor.examine", lambda as_json: 1 if as_json else 0)
    assert cli.main(["doctor"]) == 0
    assert cli.main(["doctor", "--json"]) == 1


def test_enable_status_disable(tmp_path, capsys):
    at = ["--site-dir", str(tmp_path)]
    assert cli.main(["enable", "--status", *at]) == 1
    assert cli.main(["enable", *at]) == 0
    assert cli.main(["enable", "--status", *at]) == 0
    assert cli.main(["disable", *at]) == 0
    assert cli.main(["disable", *at]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"was not enabled in {tmp_path}"


def test_offline_prints_shell_lines(tmp_path, capsys):
    assert cli.main(["offline", "--dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"export TORCH_HOME={tmp_path}/torch" in lines
    assert "export TRANSFORMERS_OFFLINE=1" in lines


def test_missing_config_is_one_line_with_status_2(capsys):
    assert cli.main(["reduce", "--cfg-path", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err.startswith("lavis-tldr: error: there is no config file 'nowhere.yaml'")


def test_debug_shows_the_traceback():
    with pytest.raises(FileNotFoundError):
        cli.main(["--debug", "reduce", "--cfg-path", "nowhere.yaml"])


def raise_elsewhere(error):
    """Raise as if from a module that is not ours."""
    exec("raise error", {"error": error, "__package__": "torch.nn"})


def raise_as_ours(error):
    exec("raise error", {"error": error, "__package__": "lavis_tldr.sources"})


@pytest.mark.parametrize(
    ("raise_it", "error", "shown_short"),
    [
        (raise_as_ours, ValueError("more clusters than samples"), True),
        (raise_elsewhere, ValueError("shapes differ"), False),
        (raise_as_ours, KeyError("no recipe 'x'"), True),
        (raise_as_ours, KeyError("caption"), False),
        (raise_elsewhere, FileNotFoundError(2, "No such file", "a.tar"), True),
        (raise_as_ours, RuntimeError("fault"), False),
    ],
)
def test_only_users_errors_are_shortened(capsys, raise_it, error, shown_short):
    if not shown_short:
        with pytest.raises(type(error)):
            user_errors.run_command(lambda: raise_it(error))
        return
    assert user_errors.run_command(lambda: raise_it(error)) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("lavis-tldr: error: ")
    assert '"' not in shown  # a KeyError's own text would be quoted


def test_version(monkeypatch, capsys):
    installed = {"salesforce-lavis": "1.0.2"}
    monkeypatch.setattr("lavis_tldr.environment.diagnosis.version_of", installed.get)
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    python = ".".join(map(str, sys.version_info[:3]))
    told = f"lavis_tldr {lavis_tldr.__version__}, Python {python}, salesforce-lavis 1.0.2, torch not installed"
    assert capsys.readouterr().out.split() == told.split()  # argparse breaks lines


def test_help_is_quick_because_it_imports_neither_torch_nor_lavis():
    code = (
        "import sys; sys.argv = ['lavis-tldr', '--help']\n"
        "from lavis_tldr.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'torch', 'lavis', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: lavis-tldr")
    assert done.stdout.endswith("[]\n")


def test_what_others_deprecate_is_not_told(monkeypatch, recwarn):
    def run(*_):
        for module in ("torch.jit._script", "fairscale.experimental.nn.offload", "lavis_tldr.train"):
            warnings.warn_explicit(module, FutureWarning, "file.py", 1, module=module)
        return SimpleNamespace(output_dir="out")

    monkeypatch.setattr("lavis_tldr.train.run", run)
    cli.main(["reduce", "--cfg-path", "a.yaml"])
    assert [str(warning.message) for warning in recwarn] == ["lavis_tldr.train"]


@pytest.mark.parametrize(
    ("before", "after", "verbosity"),
    [([], [], "normal"), (["-v"], [], "verbose"), ([], ["--quiet"], "quiet"), (["-q"], ["--verbose"], "verbose")],
)
def test_verbosity_is_asked_for_before_the_command_or_after_it(monkeypatch, before, after, verbosity):
    monkeypatch.delenv(log.VARIABLE, raising=False)
    told = []
    monkeypatch.setattr("lavis_tldr.train.run", lambda *_: told.append(log.verbosity()))
    assert cli.main([*before, "train", "--cfg-path", "a.yaml", *after]) == 0
    assert told == [verbosity]
    assert log.verbosity() == "normal"


def test_an_unknown_verbosity_is_one_line(monkeypatch, runs, capsys):
    monkeypatch.setenv(log.VARIABLE, "loud")
    assert cli.main(["train", "--cfg-path", "a.yaml"]) == 2
    assert capsys.readouterr().err.startswith(
        "lavis-tldr: error: the environment variable LAVIS_TLDR_VERBOSITY is 'loud'"
    )
