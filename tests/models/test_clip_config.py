"""Configs and checkpoints of `clip_pretrain`."""

import json
import os
from pathlib import Path

import pytest
import torch
from captioners import save_as_lavis
from clips import TEXTS, batch, images, tower_clip, tower_config
from lavis.common.registry import registry
from omegaconf import OmegaConf

from lavis_tldr.models.clip_pretrain import ClipPretrain
from lavis_tldr.models.clip_towers import TwoTowerClip


def stock_config(folder, **changes):
    """Packaged default of ``ViT-B-32`` over a tiny architecture file."""
    path = folder / "tiny.json"
    vision = {"image_size": 224, "layers": 1, "width": 64, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
    path.write_text(json.dumps({"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}))
    cfg = OmegaConf.load(ClipPretrain.default_config_path("ViT-B-32")).model
    return OmegaConf.merge(cfg, {"architecture": str(path), "image_size": 32, **changes})


@pytest.mark.parametrize(("one", "other"), [("ViT-B-32", "ViT-B-16"), ("base", "small"), ("base", "tiny")])
def test_packaged_defaults_have_the_same_keys(one, other):
    one, other = (OmegaConf.load(ClipPretrain.default_config_path(name)).model for name in (one, other))
    assert list(one) == list(other)


def test_unknown_model_type():
    with pytest.raises(ValueError, match=r"no model_type 'ViT-B-8' \(did you mean"):
        ClipPretrain.default_config_path("ViT-B-8")


@pytest.mark.parametrize(("name", "patch"), [("ViT-B-32", 32), ("ViT-B-16", 16)])
def test_stock_sizes(name, patch, monkeypatch):
    made = []
    monkeypatch.setattr(ClipPretrain, "__init__", lambda self, **parts: made.append(parts))
    ClipPretrain.from_config(OmegaConf.load(ClipPretrain.default_config_path(name)).model)
    vision = {"image_size": 224, "layers": 12, "width": 768, "patch_size": patch}
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
    expected = {"embed_dim": 512, "vision_cfg": vision, "text_cfg": text, "loss": "contrastive", "patch_dropout": 0.0}
    assert made == [expected]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed_dims": 3}, r"unknown key model.embed_dims \(did you mean 'embed_dim'"),
        ({"precision": "fp16"}, "unknown key model.precision"),
        ({"loss": "siglip"}, "model.loss is 'siglip'; expected contrastive or sigmoid"),
        ({"patch_dropout": 1.0}, r"model.patch_dropout is 1.0; expected a share of patches, in \[0, 1\)"),
        ({"patch_dropout": 0.5, "freeze_vit": True}, "patch_dropout is 0.5, but model.freeze_vit is True"),
        ({"max_text_length": 2}, "model.max_text_length is 2; expected 3"),
        ({"max_text_length": 513}, "model.max_text_length is 513; the text tower has 512 positions"),
        ({"vocabulary": None}, "no vocabulary.*model.text_weights.*model.vocabulary"),
        ({"image_size": 33}, "33 is no multiple of patch_size 8"),
        ({"vit_weights": "absent.pth"}, "model.vit_weights: there is no file absent.pth"),
        ({"load_finetuned": True}, "model.load_finetuned is True but model.finetuned names no checkpoint"),
        ({"load_pretrained": True, "pretrained": "absent.pth"}, "model.pretrained: there is no file absent.pth"),
        ({"pretrained": "a.pth"}, "model.load_pretrained is False: set it to True"),
    ],
)
def test_what_is_wrong_with_a_config(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        tower_clip(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "ViT-B-23"}, r"there is no .*ViT-B-23.json \(did you mean 'ViT-B-"),
        ({"architecture": "RN50"}, "RN50: expected one with a plain ViT"),
        ({"architecture": "timm-vit_small_patch16_224"}, "expected one with a plain ViT"),
        ({"image_size": 36}, "36 is no multiple of the patch size 8"),
        ({"freeze_vit": True}, "unknown key model.freeze_vit"),
    ],
)
def test_what_is_wrong_with_a_config_of_lavis_towers(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        ClipPretrain.from_config(stock_config(tmp_path, **changes))


# Checkpoints


def losses_alike(one, other) -> bool:
    with torch.no_grad():
        return torch.equal(one.eval()(batch())["loss"], other.eval()(batch())["loss"])


@pytest.mark.parametrize("kind", ["finetuned", "pretrained"])
@pytest.mark.parametrize("loss", ["contrastive", "sigmoid"])
def test_checkpoints_load_back(tmp_path, kind, loss):
    cls = registry.get_model_class("clip_pretrain")
    for seed, config in enumerate((stock_config, tower_config)):
        torch.manual_seed(seed)
        model = cls.from_config(config(tmp_path, loss=loss))
        path = str(save_as_lavis(model, tmp_path / "last.pth"))
        again = cls.from_config(config(tmp_path, loss=loss, **{f"load_{kind}": True, kind: path}))
        assert losses_alike(again, model)
        assert not losses_alike(cls.from_config(config(tmp_path, loss=loss)), model)


def test_frozen_towers_are_left_out_and_checked(tmp_path):
    """LAVIS drops frozen parameters; the towers must then come from where they came from."""
    frozen = {"freeze_vit": True, "freeze_text": True}
    model = tower_clip(tmp_path, **frozen)
    path = str(save_as_lavis(model, tmp_path / "last.pth"))
    held = set(torch.load(path, weights_only=True)["model"])
    assert held == {"logit_scale", "vision_proj.weight", "text_proj.weight", "_extra_state"}
    load = {**frozen, "load_finetuned": True, "finetuned": path}
    with pytest.raises(ValueError, match="leaves out the .*_encoder, which was frozen.*run.save_frozen"):
        tower_clip(tmp_path, seed=1, **load)
    weights = tmp_path / "vit.pth"
    torch.save(model.visual_encoder.state_dict(), weights)
    path = str(save_as_lavis(model, tmp_path / "last.pth", drop_frozen=False))
    again = tower_clip(tmp_path, seed=1, **load)
    assert losses_alike(again, model)
    # Without its image tower alone, it takes that from vit_weights.
    content = torch.load(path, weights_only=True)
    content["model"] = {n: v for n, v in content["model"].items() if not n.startswith("visual_encoder.")}
    torch.save(content, path)
    assert losses_alike(tower_clip(tmp_path, seed=1, vit_weights=str(weights), **load), model)


@pytest.mark.parametrize(
    ("trained", "loaded", "message"),
    [
        ({}, {"loss": "sigmoid"}, "1 weights missing .*logit_bias.*model.loss"),
        ({"loss": "sigmoid"}, {}, "1 left over .*logit_bias"),
        ({"embed_dim": 32}, {}, "does not fit this model: (?s:.*)vision_proj"),
        ({"text_depth": 1}, {}, "weights missing"),
    ],
)
def test_checkpoints_of_other_settings(tmp_path, trained, loaded, message):
    path = save_as_lavis(tower_clip(tmp_path, **trained), tmp_path / "last.pth")
    with pytest.raises(ValueError, match=message):
        tower_clip(tmp_path, load_pretrained=True, pretrained=str(path), **loaded)


def test_checkpoints_of_the_other_kind(tmp_path):
    towers = str(save_as_lavis(tower_clip(tmp_path), tmp_path / "towers.pth"))
    stock = str(save_as_lavis(ClipPretrain.from_config(stock_config(tmp_path)), tmp_path / "stock.pth"))
    with pytest.raises(ValueError, match="towers.pth is of another kind of clip_pretrain"):
        ClipPretrain.from_config(stock_config(tmp_path, load_finetuned=True, finetuned=towers))
    with pytest.raises(ValueError, match="stock.pth is of another kind of clip_pretrain"):
        tower_clip(tmp_path, load_finetuned=True, finetuned=stock)
    torch.save({"model": {"temp": torch.ones(())}}, towers)
    with pytest.raises(ValueError, match="towers.pth is of something else"):
        tower_clip(tmp_path, load_finetuned=True, finetuned=towers)


def test_a_checkpoint_at_another_image_size(tmp_path):
    for config in (stock_config, tower_config):
        model = ClipPretrain.from_config(config(tmp_path))
        path = str(save_as_lavis(model, tmp_path / "last.pth"))
        large = ClipPretrain.from_config(config(tmp_path, load_pretrained=True, pretrained=path, image_size=48))
        figures = large({"image": torch.nn.functional.interpolate(images(), size=48), "text_input": TEXTS})
        assert figures["loss"].isfinite()


# Given towers


def test_real_towers(tmp_path):
    """`small` from the DINOv2 ViT-S/14 and MiniLM, where they are."""
    vit = Path(os.environ.get("TLDR_ASSETS", "")) / "vit_small_patch14_dinov2.safetensors"
    bert = Path(os.environ.get("TLDR_MINILM", ""))
    if not vit.is_file() or not (bert / "vocab.txt").is_file():
        pytest.skip("needs TLDR_ASSETS (with the DINOv2 ViT-S/14) and TLDR_MINILM (MiniLM in Hugging Face layout)")
    cfg = OmegaConf.load(ClipPretrain.default_config_path("small")).model
    model = ClipPretrain.from_config(OmegaConf.merge(cfg, {"vit_weights": str(vit), "text_weights": str(bert)}))
    assert isinstance(model, TwoTowerClip)
    with torch.no_grad():
        model.eval()
        found = model.text_encoder.embed_text(*with_mask(model, ["a red kite", "a crimson kite", "tax returns"]))
    assert found[0] @ found[1] > 0.5 > found[0] @ found[2]
    model.train()({"image": torch.randn(2, 3, 196, 196), "text_input": TEXTS[:2]})["loss"].backward()
    assert model.text_encoder.word_embeddings.weight.grad.norm() > 0
    assert model.visual_encoder.cls_token.grad is None


def with_mask(model, texts):
    ids = model.tokenizer(texts)
    return ids, ids != model.tokenizer.tokenizer.pad
