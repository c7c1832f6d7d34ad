"""The ``lavis-tldr`` command hands each command's arguments on, and shows users' errors in one line."""

import subprocess
import sys
import types

import pytest

from lavis_tldr import cli, user_errors


@pytest.fixture
def runs(monkeypatch):
    """Calls of train.run, recorded."""
    calls = []
    monkeypatch.setattr("lavis_tldr.train.run", lambda *arguments: calls.append(arguments))
    return calls


def test_reduce_all_stages(runs):
    assert cli.main(["reduce", "--cfg-path", "a.yaml", "--options", "run.seed=1", "run.x=2"]) == 0
    assert runs == [("a.yaml", ["run.seed=1", "run.x=2"])]


def test_reduce_one_stage_again(runs):
    cli.main(["reduce", "--cfg-path", "a.yaml", "--stage", "encode", "--restart", "encode"])
    assert runs == [("a.yaml", ["run.stages=[encode]", "run.restart=encode"])]


def test_train(runs):
    cli.main(["train", "--cfg-path", "a.yaml"])
    assert runs == [("a.yaml", [])]


def test_draw_scenes_passes_only_what_was_given(monkeypatch):
    drawn = []
    scenes = types.SimpleNamespace(
        draw_scenes=lambda out, **settings: drawn.append((out, settings)),
        draw_clean_set=lambda out, **settings: drawn.append((out, settings)),
    )
    monkeypatch.setitem(sys.modules, "lavis_tldr.sources.scenes", scenes)
    cli.main(["draw-scenes", "out", "--num-samples", "20", "--near-duplicates", "0.1"])
    assert drawn == [("out", {"num_samples": 20, "near_duplicates": 0.1})]
    drawn.clear()
    cli.main(["draw-scenes", "out", "--seed", "3", "--broken", "0", "--clean", "clean", "--num-clean", "9"])
    assert drawn == [("out", {"seed": 3, "broken": 0.0}), ("clean", {"seed": 3, "num_samples": 9})]


def test_doctor_returns_its_exit_status(monkeypatch):
    monkeypatch.setattr("lavis_tldr.doctor.examine", lambda as_json: 1 if as_json else 0)
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
