"""A codebook that comes in after the captioner was warmed up without one."""

import pytest
import torch
from captioners import tiny_captioner, tiny_config

from lavis_tldr.models.codebook_captioner import CodebookCaptioner


def checkpoint_without_codebook(folder):
    model = tiny_captioner(folder, quantize=False)
    path = folder / "warm.pth"
    torch.save({"model": model.state_dict()}, path)
    return model, path


def test_a_warmed_up_captioner_takes_a_codebook(tmp_path):
    warm, path = checkpoint_without_codebook(tmp_path)
    model = CodebookCaptioner.from_config(tiny_config(tmp_path, pretrained=str(path)))
    assert model.quantizer is not None and not model.codebook_started
    assert torch.equal(model.decoder.head_transform.weight, warm.decoder.head_transform.weight)


def test_a_trained_captioner_does_not(tmp_path):
    _, path = checkpoint_without_codebook(tmp_path)
    with pytest.raises(ValueError, match="weights missing .*quantizer"):
        CodebookCaptioner.from_config(tiny_config(tmp_path, load_finetuned=True, finetuned=str(path)))


def test_narrow_networks_start_wide_enough(tmp_path):
    model = tiny_captioner(tmp_path)
    # Xavier: variance 2 / (inputs + outputs)
    for layer in (model.decoder.head_transform, model.visual_encoder.blocks[0].mlp.fc1):
        expected = (2 / sum(layer.weight.shape)) ** 0.5
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.1)
