"""Hours spent against hours saved, on accounts written by hand."""

import json

import pytest

from lavis_tldr.cli import main
from lavis_tldr.report.cost import balance, expenses, training_expense


def training(folder, hours, pairs, samples_seen=0, arch="blip_pretrain", device="cpu"):
    folder.mkdir(parents=True)
    told = {"arch": arch, "model_type": "base", "device": device, "device_hours": hours}
    (folder / "training.json").write_text(json.dumps({**told, "num_pairs": pairs, "samples_seen": samples_seen}))
    return folder


def stage(folder, seconds, parts=(), done=True):
    folder.mkdir(parents=True)
    notes = {str(number): {"seconds": value} for number, value in enumerate(parts)}
    manifest = {"done": done, "counts": {"read": 100}, "parts": notes}
    (folder / "manifest.json").write_text(json.dumps({**manifest, **({"seconds": seconds} if done else {})}))


@pytest.fixture
def accounts(tmp_path):
    """3 hours for the captioner, 1.5 for reducing; 8 hours of pretraining on the whole set, 6 on the reduced one."""
    training(tmp_path / "captioner", 3.0, 500, arch="codebook_captioner")
    stage(tmp_path / "run" / "encode", 1800, parts=[1800, 1800])  # two processes: an hour of both
    stage(tmp_path / "run" / "best" / "select", 1800)
    stage(tmp_path / "run" / "best" / "refine", 0, done=False)
    training(tmp_path / "whole", 8.0, 1000, 20_000)
    training(tmp_path / "reduced", 6.0, 250, 5_000)
    return tmp_path


def spent(folder):
    return expenses(folder / "captioner") + expenses(folder / "run")


def test_a_run_folder_gives_the_hours_of_its_finished_stages(accounts):
    assert [(e.what, e.hours) for e in expenses(accounts / "run")] == [("best/select", 0.5), ("encode", 1.0)]


def test_the_balance_by_hand(accounts):
    told = balance(spent(accounts), training_expense(accounts / "whole"), training_expense(accounts / "reduced"))
    assert told["spent_hours"] == pytest.approx(4.5)
    assert told["saved_hours"] == pytest.approx(2.0)
    assert told["net_hours"] == pytest.approx(-2.5)
    assert told["pays_from"] == 3  # two save 4 hours, three save 6
    assert not told["same_samples"]


def test_the_command_says_from_how_many_pretrainings_on_it_pays(accounts, capsys):
    runs = [str(accounts / name) for name in ("captioner", "run")]
    pair = ["--whole", str(accounts / "whole"), "--reduced", str(accounts / "reduced")]
    assert main(["cost", *runs, *pair]) == 0
    out = capsys.readouterr().out
    assert "2.000 hours less (25%)" in out and "costs 2.500 hours" in out and "from pretraining 3 on" in out
    assert main(["cost", *runs]) == 0
    assert "| **spent** |  | 4.500 |  |" in capsys.readouterr().out
    assert main(["cost", *runs, *pair, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pays_from"] == 3


def test_at_the_same_samples_nothing_is_saved(tmp_path, accounts, capsys):
    same = training(tmp_path / "same", 8.0, 250, 20_000)
    main(["cost", str(accounts / "run"), "--whole", str(accounts / "whole"), "--reduced", str(same)])
    assert "a better model, not hours" in capsys.readouterr().out


def test_what_saves_nothing_is_said_to(tmp_path, accounts):
    slower = training_expense(training(tmp_path / "slower", 9.0, 250, 5_000))
    assert balance(spent(accounts), training_expense(accounts / "whole"), slower)["pays_from"] is None


def test_hours_of_unlike_things_are_not_compared(tmp_path, accounts):
    whole = training_expense(accounts / "whole")
    for number, change in enumerate(({"arch": "clip_pretrain"}, {"device": "NVIDIA H100"})):
        other = training_expense(training(tmp_path / str(number), 6.0, 250, **change))
        with pytest.raises(ValueError, match="of one model on one kind of device"):
            balance([], whole, other)
    with pytest.raises(ValueError, match="--whole names the pretraining on the larger set"):
        balance([], training_expense(accounts / "reduced"), whole)


def test_folders_of_something_else_are_named(tmp_path, accounts, capsys):
    with pytest.raises(ValueError, match="neither a training's folder"):
        expenses(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has no training.json.*runner_pretrain"):
        training_expense(accounts / "run")
    assert main(["cost", str(accounts / "run"), "--whole", str(accounts / "whole")]) == 2
    assert "belong together" in capsys.readouterr().err
