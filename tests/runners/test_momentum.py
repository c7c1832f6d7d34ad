import pytest
import torch

from lavis_tldr.runners.momentum import add_momentum_weights, main


def test_copies_what_is_followed_and_nothing_else():
    state = {
        "visual_encoder.pos_embed": torch.tensor([1.0]),
        "text_proj.weight": torch.tensor([2.0]),
        "text_proj_m.weight": torch.tensor([3.0]),
        "text_decoder.bias": torch.tensor([4.0]),
        "temp": torch.tensor(0.07),
    }
    completed = add_momentum_weights(state)
    assert set(completed) == {*state, "visual_encoder_m.pos_embed"}
    assert completed["visual_encoder_m.pos_embed"].item() == 1.0
    assert completed["text_proj_m.weight"].item() == 3.0  # there already: kept
    assert completed["visual_encoder_m.pos_embed"] is not state["visual_encoder.pos_embed"]


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="visual_encoder, text_encoder"):
        add_momentum_weights({"visual.weight": torch.zeros(1)})


def test_command_keeps_the_rest_of_the_checkpoint(tmp_path):
    source, target = tmp_path / "checkpoint_19.pth", tmp_path / "with_momentum.pth"
    torch.save({"model": {"vision_proj.weight": torch.ones(1)}, "epoch": 19, "optimizer": {"state": {}}}, source)
    assert main([str(source), str(target)]) == 0
    written = torch.load(target)
    assert (written["epoch"], written["optimizer"]) == (19, {"state": {}})
    assert set(written["model"]) == {"vision_proj.weight", "vision_proj_m.weight"}


def test_command_names_a_missing_file(tmp_path, capsys):
    assert main([str(tmp_path / "absent.pth"), str(tmp_path / "out.pth")]) == 2
    assert "absent.pth does not exist" in capsys.readouterr().err
