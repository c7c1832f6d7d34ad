"""Weights of `clip_pretrain` in LAVIS's stock ``clip``, in Hugging Face's CLIPModel, and at other image sizes."""

import json

import pytest
import torch
from clips import TEXT, TEXTS, VISION, Gallery, batch, images, recalls, stock_clip, tower_clip
from lavis.common.registry import registry
from lavis.models.clip_models import model as lavis_clip
from omegaconf import OmegaConf
from transformers import CLIPConfig, CLIPModel

from lavis_tldr import cli
from lavis_tldr.models.clip_conversion import resize_positions, to_stock_clip


@pytest.fixture
def load_stock(tmp_path, monkeypatch):
    """Stock ``clip`` from a converted file, as a run config with ``pretrained`` loads it, strictly."""

    def load(content: dict, image_size: int = 32):
        architecture = {"embed_dim": 32, "vision_cfg": {**VISION, "image_size": image_size}, "text_cfg": TEXT}
        monkeypatch.setitem(lavis_clip._MODEL_CONFIGS, "tiny-test", architecture)
        torch.save(content, tmp_path / "stock.pt")
        cfg = OmegaConf.create({"model_type": "tiny-test", "pretrained": str(tmp_path / "stock.pt")})
        return registry.get_model_class("clip").from_config(cfg).eval()

    return load


def features(model, images_=None):
    with torch.no_grad():
        return model.encode_image(images() if images_ is None else images_), model.encode_text(model.tokenizer(TEXTS))


@pytest.mark.parametrize("loss", ["contrastive", "sigmoid"])
def test_stock_clip_loads_it_and_agrees(load_stock, loss):
    model = stock_clip(loss=loss).eval()
    model.logit_scale.data.fill_(9.0)  # as an update may leave it
    state = model.state_dict()
    stock = load_stock(to_stock_clip(state))
    assert type(stock).__name__ == "CLIP"
    for found, expected in zip(features(stock), features(model), strict=True):
        assert torch.equal(found, expected)
    assert stock.logit_scale.exp().item() == pytest.approx(100)
    assert state["logit_scale"].item() == 9.0  # what was given stays
    with torch.no_grad():
        found = recalls(stock.compute_sim_matrix(Gallery().loader(), task_cfg=None))
    assert found == recalls(model.compute_sim_matrix(Gallery().loader()))


def test_weights_in_the_wrong_place_would_show(load_stock):
    model = stock_clip().eval()
    state = model.state_dict()
    first, second = (f"visual.transformer.resblocks.{i}.ln_1.bias" for i in range(2))
    state[first], state[second] = state[second] + 1, state[first]
    assert not torch.allclose(features(load_stock(to_stock_clip(state)))[0], features(model)[0], atol=1e-3)


def test_another_image_size(load_stock):
    model = stock_clip().eval()
    # A position's value is its place, so that a larger grid's is known: halfway and outward steps of a ramp.
    ramp = torch.arange(4.0).repeat_interleave(4)[:, None].expand(16, 64) / 10
    model.visual.positional_embedding.data = torch.cat([torch.full((1, 64), 5.0), ramp])
    stock = load_stock(to_stock_clip(model.state_dict(), image_size=64), image_size=64)
    positions = stock.visual.positional_embedding.detach()
    assert positions.shape == (65, 64)
    assert (positions[0] == 5).all()
    rows = positions[1:, 0].view(8, 8)
    assert torch.allclose(rows[3:5, 0], torch.tensor([0.125, 0.175]), atol=1e-6)  # (3.5, 4.5) / 2 - 0.5 in tenths
    torch.testing.assert_close(rows, rows[:, :1].expand(8, 8))
    large = torch.nn.functional.interpolate(images(), scale_factor=2)
    assert features(stock, large)[0].isfinite().all()


def test_positions_of_the_same_grid_stay():
    positions = torch.randn(17, 3)
    assert torch.equal(resize_positions(positions, 4), positions)
    averaged = resize_positions(torch.ones(17, 3), 2)
    assert torch.allclose(averaged, torch.ones(5, 3))


@pytest.mark.parametrize("length", [12, 90])
def test_other_text_lengths_fit_stock(load_stock, length):
    """Texts that fitted have the feature that they had."""
    model = stock_clip(text={"context_length": length}).eval()
    stock = load_stock(to_stock_clip(model.state_dict()))
    torch.testing.assert_close(features(stock)[1], features(model)[1])


@pytest.mark.parametrize(
    ("state", "options", "message"),
    [
        (lambda folder: tower_clip(folder).state_dict(), {}, "two towers.*clip_pretrain.*load_finetuned"),
        (lambda folder: {"temp": torch.ones(())}, {}, "no weights of a clip_pretrain.*visual.positional_embedding"),
        (lambda folder: stock_clip().state_dict(), {"image_size": 36}, "36 is no multiple of .* patch size, 8"),
    ],
)
def test_what_can_not_be_converted(tmp_path, state, options, message):
    with pytest.raises(ValueError, match=message):
        to_stock_clip(state(tmp_path), **options)


# Hugging Face's CLIPModel

_OF_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_OUTER = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "logit_scale": "logit_scale",
}


def in_hugging_face_names(state: dict) -> dict:
    found = {"visual_projection.weight": state["visual.proj"].T, "text_projection.weight": state["text_projection"].T}
    for name, value in state.items():
        stem, _, kind = name.rpartition(".")
        if name in _OUTER or stem in _OUTER:
            found[_OUTER.get(name) or f"{_OUTER[stem]}.{kind}"] = value
        elif ".resblocks." in f".{name}":
            side = "vision_model" if name.startswith("visual.") else "text_model"
            number, _, part = name.partition("resblocks.")[2].partition(".")
            prefix = f"{side}.encoder.layers.{number}"
            if part.startswith("attn.in_proj_"):
                for letter, third in zip("qkv", value.chunk(3), strict=True):
                    found[f"{prefix}.self_attn.{letter}_proj.{part.removeprefix('attn.in_proj_')}"] = third
            else:
                found[f"{prefix}.{_OF_BLOCK[part.rpartition('.')[0]]}.{kind}"] = value
    return found


def test_is_hugging_faces_clip():
    sizes = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "hidden_act": "gelu"}
    config = CLIPConfig(
        text_config={**sizes, "num_attention_heads": 2, "vocab_size": 49408, "max_position_embeddings": 77},
        vision_config={**sizes, "num_attention_heads": 1, "image_size": 32, "patch_size": 8},
        projection_dim=32,
    )
    theirs, ours = CLIPModel(config).eval(), stock_clip().eval()
    result = theirs.load_state_dict(in_hugging_face_names(to_stock_clip(ours.state_dict())["state_dict"]), strict=False)
    assert not result.unexpected_keys
    assert all(name.endswith("position_ids") for name in result.missing_keys)
    with torch.no_grad():
        wanted = theirs(input_ids=ours.tokenizer(TEXTS), pixel_values=images(), return_loss=True)
        pairs, found = ours.encode_pairs(batch()), ours(batch())
    torch.testing.assert_close(pairs.image, wanted.image_embeds, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(pairs.text, wanted.text_embeds, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found["loss"], wanted.loss, atol=1e-5, rtol=1e-5)


def test_architecture_file(tmp_path, load_stock):
    """A run config's architecture may be a file; what it trains loads into the same architecture of stock."""
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps({"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT}))
    cls = registry.get_model_class("clip_pretrain")
    cfg = OmegaConf.load(cls.default_config_path("ViT-B-32")).model
    model = cls.from_config(OmegaConf.merge(cfg, {"architecture": str(path), "image_size": 32})).eval()
    for found, expected in zip(features(load_stock(to_stock_clip(model.state_dict()))), features(model), strict=True):
        assert torch.equal(found, expected)


def test_the_command_writes_what_stock_loads(load_stock, tmp_path, capsys):
    model = stock_clip(loss="sigmoid").eval()
    torch.save({"model": model.state_dict(), "epoch": 0}, tmp_path / "last.pth")
    command = ["convert", str(tmp_path / "last.pth"), str(tmp_path / "clip.pt"), "--for", "clip"]
    assert cli.main(command) == 0
    assert "dropped: 1 logit_bias" in capsys.readouterr().out
    stock = load_stock(torch.load(tmp_path / "clip.pt", weights_only=True))
    assert torch.equal(features(stock)[0], features(model)[0])
    assert cli.main([*command, "--queue-size", "8"]) == 2
    assert "takes --image-size alone" in capsys.readouterr().err
