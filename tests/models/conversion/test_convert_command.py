"""``lavis-tldr convert`` from file to file."""

import pytest
import torch
from tiny_blip import build_tiny_pretraining, register_tiny

from lavis_tldr import cli


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    register_tiny(tmp_path, monkeypatch)
    path = tmp_path / "checkpoint_19.pth"
    torch.save({"model": build_tiny_pretraining().state_dict(), "epoch": 19}, path)
    return path


def test_writes_the_file_and_says_what_was_done(checkpoint, tmp_path, capsys):
    target = tmp_path / "retrieval.pth"
    command = ["convert", str(checkpoint), str(target), "--for", "blip_retrieval", "--model-type", "tiny"]
    assert cli.main([*command, "--image-size", "64", "--queue-size", "24", "--options", "embed_dim=12"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "made: 1 idx_queue"
    assert told[2].startswith("dropped: ") and told[2].endswith(" text_decoder")
    assert told[-1] == f"wrote {target}"
    state = torch.load(target)["model"]
    assert state["visual_encoder.pos_embed"].shape == (1, 65, 24) and state["image_queue"].shape == (12, 24)


def test_an_error_writes_nothing(checkpoint, tmp_path, capsys):
    target = tmp_path / "out.pth"
    assert cli.main(["convert", str(tmp_path / "absent.pth"), str(target), "--for", "resume"]) == 2
    assert "absent.pth does not exist" in capsys.readouterr().err
    assert cli.main(["convert", str(checkpoint), str(target), "--for", "blip_retrieval"]) == 2
    assert "does not fit blip_retrieval" in capsys.readouterr().err and not target.exists()
