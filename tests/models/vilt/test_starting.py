"""Starts from a ViT's and a BERT's weights."""

import json
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from lavis.models.vit import VisionTransformer
from safetensors.torch import save_file
from transformers import BertConfig, BertModel
from vilts import CAPTIONS, pairs, tiny_vilt, vocabulary

ASSETS = Path(os.environ.get("TLDR_ASSETS", ""))


def timm_vit(image_size: int = 32, depth: int = 2) -> VisionTransformer:
    torch.manual_seed(3)
    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    sizes = {"embed_dim": 64, "depth": depth, "num_heads": 2, "mlp_ratio": 4, "qkv_bias": True}
    vit = VisionTransformer(img_size=image_size, patch_size=8, norm_layer=norm, **sizes).eval()
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return vit


def save_vit(vit, path) -> str:
    save_file(vit.state_dict(), path)
    return str(path)


@torch.no_grad()
def image_alone(model, image):
    """The transformer's outputs of image tokens where nothing attends to text, and no modality is added."""
    model.vilt.embeddings.token_type_embeddings.weight.zero_()
    tokens, _ = model.vilt.embed_image(image)
    mask = torch.ones(len(image), 1, 1, tokens.shape[1], dtype=torch.bool)
    return model.vilt.layernorm(model.vilt.encoder(tokens, mask))


@pytest.mark.parametrize("depth", [2, 3])
def test_reads_an_image_as_the_vit_does(tmp_path, depth):
    vit = timm_vit(depth=depth)
    model = tiny_vilt(tmp_path, vit_weights=save_vit(vit, tmp_path / "vit.safetensors")).eval()
    vit.blocks = vit.blocks[:2]  # of a deeper one the first blocks
    image = pairs()["image"]
    torch.testing.assert_close(image_alone(model, image), vit(image), atol=1e-4, rtol=1e-4)


def test_positions_come_to_the_grid(tmp_path):
    """From 4 x 4 to 6 x 6; [CLS] keeps its own."""
    vit = timm_vit()
    model = tiny_vilt(tmp_path, image_size=48, vit_weights=save_vit(vit, tmp_path / "vit.safetensors"))
    positions = model.vilt.embeddings.position_embeddings
    assert positions.shape == (1, 37, 64)
    torch.testing.assert_close(positions[:, 0], vit.pos_embed[:, 0])


@pytest.mark.parametrize("change", [{"width": 32}, {"depth": 3}, {"patch_size": 16}])
def test_a_vit_of_other_sizes_is_refused(tmp_path, change):
    path = save_vit(timm_vit(), tmp_path / "vit.safetensors")
    with pytest.raises(ValueError, match="model.vit_weights: "):
        tiny_vilt(tmp_path, vit_weights=path, **change)


def write_bert(folder: Path, **changes) -> tuple[str, BertModel]:
    folder.mkdir()
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(vocabulary()), **{**sizes, "max_position_embeddings": 50, **changes})
    bert = BertModel(config).eval()
    save_file(bert.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    return str(folder), bert


def test_embeds_text_as_the_bert_does(tmp_path):
    folder, bert = write_bert(tmp_path / "bert")
    model = tiny_vilt(tmp_path, text_weights=folder, vocabulary=None).eval()
    ids, _ = model.tokenize(CAPTIONS)
    torch.testing.assert_close(model.vilt.embeddings.text_embeddings(ids), bert.embeddings(ids))
    words = model.vilt.embeddings.text_embeddings.word_embeddings.weight
    assert torch.equal(model.mlm_score.decoder.weight, words) and model.mlm_score.decoder.weight is not words


@pytest.mark.parametrize("change", [{"hidden_size": 32}, {"max_position_embeddings": 20}])
def test_a_bert_of_other_sizes_is_refused(tmp_path, change):
    folder, _ = write_bert(tmp_path / "bert", **change)
    with pytest.raises(ValueError, match="model.text_weights: .*make model.width and model.max_text_length fit"):
        tiny_vilt(tmp_path, text_weights=folder)


def test_a_vocabulary_may_be_a_berts_folder(tmp_path):
    folder, _ = write_bert(tmp_path / "bert")
    assert tiny_vilt(tmp_path, vocabulary=folder).tokenizer.vocabulary == vocabulary()


@pytest.mark.skipif(
    not (ASSETS / "vit_small_patch14_dinov2.safetensors").is_file(), reason="needs TLDR_ASSETS with DINOv2-S's weights"
)
def test_small_starts_from_dinov2(tmp_path):
    path = str(ASSETS / "vit_small_patch14_dinov2.safetensors")
    model = tiny_vilt(tmp_path, model_type="small", vit_weights=path, **small_sizes(), freeze_layers=2)
    out = model({**pairs(2, size=56)})
    assert torch.isfinite(out["loss"])
    assert model.vilt.embeddings.position_embeddings.shape == (1, 197, 384)


def small_sizes() -> dict:
    """Those of ``small``, of which `tiny_config` starts from ``tiny``; two blocks are enough here."""
    return {"image_size": 196, "patch_size": 14, "width": 384, "depth": 2, "heads": 6, "mlp_width": 1536}
