"""``python -m lavis_tldr.train`` on a toy model: names, typos, folders, seeds and processes."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import toy_lavis
from lavis.common.registry import registry

import lavis_tldr
from lavis_tldr import train

REPOSITORY = Path(lavis_tldr.__file__).parents[1]


@pytest.fixture
def toy_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAVIS_CACHE_ROOT", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    # A run sets LAVIS's paths and the root logger's handlers: put them back.
    monkeypatch.setitem(registry.mapping, "paths", dict(registry.mapping["paths"]))
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    return lambda **run: toy_lavis.write_toy_run(tmp_path, **run)


def test_trains_and_saves_below_the_working_directory(toy_run, tmp_path):
    runner = train.run(toy_run())
    assert runner.output_dir.parent == tmp_path / "runs"
    assert re.fullmatch(r"\d{14}-[0-9a-f]{4}", runner.output_dir.name)
    assert (runner.output_dir / "checkpoint_0.pth").is_file()


@pytest.mark.parametrize(("options", "tells_config"), [([], False), (["-v"], True)])
def test_the_log_has_a_line_of_what_is_run_and_the_whole_config_on_request(
    toy_run, tmp_path, capsys, options, tells_config
):
    config = str(toy_run(job_id="mine"))
    assert train.main(["--cfg-path", config, *options]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0][9:] == f"{config}: output in {tmp_path / 'runs/mine'}, on cpu, 1 process"
    assert any("Running Parameters" in line for line in told) == tells_config
    assert '"job_id": "mine"' in (tmp_path / "runs/mine/log.txt").read_text()


def test_quiet_is_silent(toy_run, capsys):
    config = str(toy_run())
    assert train.main(["--cfg-path", config, "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert train.main(["--cfg-path", config]) == 0
    assert "Train: data epoch: [0]" in capsys.readouterr().out


def test_two_runs_in_one_process_get_folders_of_their_own(toy_run):
    config = toy_run()
    assert train.run(config).output_dir != train.run(config).output_dir


def test_same_seed_same_weights(toy_run):
    config = toy_run()
    first, again, other = (train.run(config, [f"run.seed={seed}"]).model for seed in (7, 7, 8))
    assert torch.equal(first.layer.weight, again.layer.weight)
    assert not torch.equal(first.layer.weight, other.layer.weight)


def test_job_id_can_be_named(toy_run, tmp_path):
    assert train.run(toy_run(job_id="mine")).output_dir == tmp_path / "runs" / "mine"


def test_option_for_the_model_type_chooses_its_defaults(toy_run):
    config = toy_run()
    assert train.run(config).model.layer.out_features == 3
    assert train.run(config, ["model.model_type=large"]).model.layer.out_features == 5


def test_cache_root_from_config_before_environment_before_home(toy_run, tmp_path, monkeypatch):
    config = toy_run()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    train.run(config)
    assert registry.get_path("cache_root") == str(tmp_path / "home/.cache/lavis")
    monkeypatch.setenv("LAVIS_CACHE_ROOT", str(tmp_path / "environment"))
    train.run(config)
    assert registry.get_path("cache_root") == str(tmp_path / "environment")
    train.run(config, [f"run.cache_root={tmp_path / 'configured'}"])
    assert registry.get_path("cache_root") == str(tmp_path / "configured")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("run.max_epochs=2", r"unknown key run\.max_epochs \(did you mean 'max_epoch'"),
        ("run.task=toy_tusk", r"run\.task 'toy_tusk' is unknown \(did you mean 'toy_task'"),
        ("run.runner=runer_cpu", r"run\.runner 'runer_cpu' is unknown \(did you mean 'runner_cpu'"),
        ("model.arch=toy_modell", r"model\.arch 'toy_modell' is unknown \(did you mean 'toy_model'"),
        ("model.model_type=huge", r"model_type \(of toy_model\) 'huge' is unknown \(known: large, small\)"),
        ("datasets.toy_datasett.x=1", r"dataset 'toy_datasett' is unknown \(did you mean 'toy_dataset'"),
        ("run.device=cuda", r"'cuda', but torch sees no CUDA device.*auto"),
        ("run.runner=runner_base", r"'runner_base' needs CUDA.*runner_cpu"),
        ("max_epoch", r"takes KEY=VALUE"),
    ],
)
def test_says_what_is_wrong_with_a_config(toy_run, option, message):
    with pytest.raises(ValueError, match=message):
        train.run(toy_run(), [option])


def test_names_all_faults_at_once(toy_run):
    with pytest.raises(ValueError, match=r"toy_tusk.*max_epochs"):
        train.run(toy_run(), ["run.task=toy_tusk", "run.max_epochs=2"])


def test_keys_that_the_task_declares_are_known(toy_run):
    assert train.run(toy_run(toy_key=1)).config.run_cfg.toy_key == 1


@pytest.mark.parametrize(
    ("cuda", "run", "device", "runner"),
    [
        (False, {"device": "auto"}, "cpu", "runner_cpu"),
        (False, {"device": "auto", "runner": "runner_base"}, "cpu", "runner_cpu"),
        (False, {"device": "cpu"}, "cpu", "runner_cpu"),
        (False, {"device": "cpu", "runner": "runner_tldr"}, "cpu", "runner_tldr"),
        (True, {"device": "auto"}, "cuda", "runner_base"),
        (True, {}, "cuda", "runner_base"),
        (True, {"device": "cpu"}, "cpu", "runner_cpu"),
    ],
)
def test_device_and_runner(monkeypatch, cuda, run, device, runner):
    from omegaconf import OmegaConf

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    run = OmegaConf.create(run)
    train.choose_device(run)
    assert (run.device, run.runner) == (device, runner)


def test_missing_file_and_section(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no config file 'nowhere.yaml'"):
        train.load_user_config("nowhere.yaml")
    config = tmp_path / "part.yaml"
    config.write_text(json.dumps({"run": {}, "model": {}}))
    with pytest.raises(ValueError, match="lacks the section 'datasets'"):
        train.load_user_config(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1", "is not valid YAML"), ("- a\n- b\n", "holds no mapping"), ("", "lacks the section 'run'")],
)
def test_file_that_is_no_config(tmp_path, text, message):
    config = tmp_path / "odd.yaml"
    config.write_text(text)
    with pytest.raises(ValueError, match=message):
        train.load_user_config(config)


def test_command_line_shows_a_users_error_in_one_line(toy_run, capsys):
    assert train.main(["--cfg-path", str(toy_run()), "--options", "run.max_epochs=2"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("lavis-tldr: error: the config cannot be run: ")
    assert "\n" not in error


def test_two_processes_on_a_cpu_share_one_folder_and_one_model(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(
        f"import sys; sys.path[:0] = [{str(REPOSITORY)!r}, {str(Path(toy_lavis.__file__).parent)!r}]\n"
        "import os, pathlib, torch, toy_lavis\n"
        "from lavis_tldr import train\n"
        "here = pathlib.Path(__file__).parent\n"
        "rank = os.environ['RANK']\n"
        "(here / rank).mkdir()\n"
        "toy = toy_lavis.write_toy_run(here / rank)\n"
        "runner = train.run(toy, [f'run.output_dir={here}/runs'])\n"
        "weight = runner.unwrap_dist_model(runner.model).layer.weight\n"
        "size = runner.config.run_cfg.world_size\n"
        "torch.save([str(runner.output_dir), weight, size], here / f'{rank}.pth')\n"
    )
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    (folder, weight, size), (other_folder, other_weight, _) = (torch.load(tmp_path / f"{rank}.pth") for rank in (0, 1))
    assert size == 2
    assert folder == other_folder
    assert torch.equal(weight, other_weight)
