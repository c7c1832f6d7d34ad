"""BLIP's scores and features against LAVIS's own model, and what is said of checkpoints that do not fit."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lavis.models.blip_models import blip
from lavis.models.blip_models.blip_image_text_matching import BlipITM
from PIL import Image
from tiny_blip import IMAGE_SIZE, register_tiny, write_tiny

from lavis_tldr.scoring.blip_matching import load_blip

CAPTIONS = ["a red kite", "Two DOGS (small) in the grass!"]
# What LAVIS's caption processor makes of them.
PROCESSED = ["a red kite", "two dogs small in the grass"]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    register_tiny(tmp_path, monkeypatch)
    write_tiny(tmp_path / "blip.pth")
    return tmp_path / "blip.pth"


@pytest.fixture
def images():
    return torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_scores_are_those_of_lavis_pair_by_pair(weights, images, tmp_path):
    model = write_tiny(tmp_path / "same.pth")
    loaded = load_blip(str(weights), "tiny")
    itm, itc = loaded.match(images, CAPTIONS), loaded.similarity(images, CAPTIONS)
    for i in range(2):
        pair = {"image": images[i : i + 1], "text_input": [PROCESSED[i]]}
        assert itm[i].item() == pytest.approx(model(pair, match_head="itm").softmax(1)[0, 1].item(), abs=1e-5)
        assert itc[i].item() == pytest.approx(model(pair, match_head="itc").item(), abs=1e-5)
    assert abs(itm[0] - itm[1]) > 1e-3 and abs(itc[0] - itc[1]) > 1e-3


@torch.no_grad()
def test_the_cosine_of_image_feature_and_text_is_itc(weights, images):
    loaded = load_blip(str(weights), "tiny")
    features = loaded.embed_images(images)
    assert features.shape == (2, 12)
    text = loaded.model.tokenizer(PROCESSED[1], return_tensors="pt")
    state = loaded.model.text_encoder(text.input_ids, return_dict=True, mode="text").last_hidden_state[:, 0]
    text_feature = F.normalize(loaded.model.text_proj(state), dim=-1)
    assert (features[1] @ text_feature[0]).item() == pytest.approx(
        loaded.similarity(images, CAPTIONS)[1].item(), abs=1e-5
    )
    assert features.norm(dim=1).tolist() == pytest.approx([1, 1])


@torch.no_grad()
def test_in_bf16_cosines_are_told_apart_finer_than_bf16_can(weights):
    loaded = load_blip(str(weights), "tiny")
    images = torch.randn(16, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))
    captions = ["a red kite"] * 16
    exact = loaded.similarity(images, captions)
    with torch.autocast("cpu", torch.bfloat16):
        found = loaded.similarity(images, captions)
    assert found.dtype == torch.float32
    assert (found != found.bfloat16().float()).any()
    assert found.tolist() == pytest.approx(exact.tolist(), abs=0.05)


def test_images_are_processed_as_blip_was_trained(weights):
    pixels = load_blip(str(weights), "tiny").vis_processor(Image.new("RGB", (50, 40), (255, 0, 0)))
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    assert pixels.shape == (3, IMAGE_SIZE, IMAGE_SIZE)
    np.testing.assert_allclose(pixels[:, 0, 0], ([1, 0, 0] - mean) / std, atol=1e-4)


def test_weights_of_another_image_size_are_fitted(weights, tmp_path):
    state = torch.load(weights, weights_only=True)["model"]
    state["visual_encoder.pos_embed"] = torch.zeros(1, 1 + 6 * 6, 24)  # of 48 x 48
    torch.save(state, tmp_path / "larger.pth")  # and not under "model"
    assert load_blip(str(tmp_path / "larger.pth"), "tiny").model.visual_encoder.pos_embed.abs().sum() == 0


def test_the_digest_goes_with_the_weights(weights, tmp_path):
    write_tiny(tmp_path / "other.pth", seed=1)
    digests = [load_blip(str(tmp_path / name), "tiny").digest for name in ("blip.pth", "blip.pth", "other.pth")]
    assert digests[0] == digests[1] != digests[2]


def test_checkpoints_that_do_not_fit_are_refused(weights, tmp_path):
    state = torch.load(weights, weights_only=True)["model"]
    broken = {
        "lacking": {name: value for name, value in state.items() if "itm_head" not in name},
        "wider": {**state, "vision_proj.weight": torch.zeros(12, 99)},
        "empty": {},
        "list": [1, 2],
    }
    messages = {
        "lacking": r"lacks 2 weights.*first: itm_head\.bias",
        "wider": "is no checkpoint of blip_image_text_matching, type tiny .*size mismatch",
        "empty": r"lacks \d+ weights",
        "list": "is no checkpoint",
    }
    for name, content in broken.items():
        torch.save(content, tmp_path / f"{name}.pth")
        with pytest.raises(ValueError, match=f"(?s){name}.pth {messages[name]}"):
            load_blip(str(tmp_path / f"{name}.pth"), "tiny")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps({"model": print}, protocol=2)])
def test_files_that_are_no_checkpoints_are_refused(weights, tmp_path, content):
    (tmp_path / "other.pth").write_bytes(content)
    with pytest.raises(ValueError, match="(?s)other.pth is no checkpoint of blip_image_text_matching, type tiny"):
        load_blip(str(tmp_path / "other.pth"), "tiny")


def test_what_is_not_there_is_named(weights, tmp_path):
    with pytest.raises(ValueError, match="run.blip_model_type is 'huge'; expected one of base, large"):
        load_blip(str(weights), "huge")
    with pytest.raises(ValueError, match="run.blip_weights: there is no file .*none.pth"):
        load_blip(str(tmp_path / "none.pth"), "tiny")


def test_without_a_hub_the_offline_command_is_named(weights, monkeypatch):
    def no_hub(name):
        raise OSError("can't load the tokenizer")

    monkeypatch.setattr(blip.BertTokenizer, "from_pretrained", no_hub)
    with pytest.raises(ValueError, match=r"bert-base-uncased, which can't be fetched.*`lavis-tldr offline"):
        load_blip(str(weights), "tiny")


def test_the_types_are_those_of_lavis():
    assert set(BlipITM.PRETRAINED_MODEL_CONFIG_DICT) == {"base", "large"}
