"""Given towers: their weights arrive, a frozen one stays, and its features stand in for images."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lavis.models.vit import VisionTransformer
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from lavis_tldr.environment.offline import character_vocabulary

SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}


@pytest.fixture(scope="module")
def bert(tmp_path_factory, request):
    """A BERT in Hugging Face layout: the model and its folder."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(7)
    model = BertModel(BertConfig(vocab_size=len(character_vocabulary()), max_position_embeddings=512, **SIZES)).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(character_vocabulary()) + "\n")
    return model, folder


@pytest.fixture(scope="module")
def vit_file(tmp_path_factory):
    torch.manual_seed(8)
    vit = VisionTransformer(img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=2)
    path = tmp_path_factory.mktemp("vit") / "vit.safetensors"
    save_file(vit.state_dict(), path)
    return path


def test_a_given_bert_is_in_both_text_towers_and_keeps_its_function(build, bert):
    theirs, folder = bert
    model = build(text_weights=str(folder), vocabulary=None).eval()
    text = model.tokenizer(["a red kite", "two dogs on a beach"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = theirs(text.input_ids, text.attention_mask).last_hidden_state  # of token type 0
        found = model.text_encoder.forward_text(text).last_hidden_state
    assert torch.allclose(found, expected, atol=1e-5)
    layer = "encoder.layer.1.attention.self.query.weight"
    assert torch.equal(model.text_encoder.state_dict()[layer], theirs.state_dict()[layer])
    assert torch.equal(model.text_decoder.bert.state_dict()[layer], theirs.state_dict()[layer])
    assert torch.equal(model.text_encoder_m.state_dict()[layer], theirs.state_dict()[layer])
    assert len(model.tokenizer) == len(character_vocabulary()) + 2
    assert model.text_encoder.embeddings.word_embeddings.weight is model.text_decoder.cls.predictions.decoder.weight


def test_given_image_weights_arrive(build, vit_file):
    from safetensors.torch import load_file

    model = build(vit_weights=str(vit_file))
    for name, value in load_file(vit_file).items():
        assert torch.equal(model.visual_encoder.state_dict()[name], value)
        assert torch.equal(model.visual_encoder_m.state_dict()[name], value)


@pytest.mark.parametrize("fast", [True, False])
def test_features_of_a_frozen_tower_equal_its_images(build, vit_file, samples, fast):
    model = build(vit_weights=str(vit_file), freeze_vit=True, fast=fast, dropout=0.0).train()
    assert not model.visual_encoder.training and model.visual_encoder_m is model.visual_encoder
    with torch.no_grad():
        features = model.visual_encoder(samples["image"])
    without = {name: value for name, value in samples.items() if name != "image"}
    losses = []
    for batch in (samples, {**without, "image_features": features}):
        alike = copy.deepcopy(model)
        torch.manual_seed(4)
        output = alike(batch)
        output["loss"].backward()
        losses.append([output[name].item() for name in ("loss_itc", "loss_itm", "loss_lm")])
        assert all(p.grad is None for p in alike.visual_encoder.parameters())
        assert torch.equal(alike.state_dict()["visual_encoder_m.cls_token"], model.visual_encoder.cls_token)
    assert losses[0] == losses[1]


def test_features_for_a_trained_tower_are_refused(build, samples):
    batch = {**samples, "image_features": torch.zeros(4, 17, 64)}
    del batch["image"]
    with pytest.raises(ValueError, match="image_features need model.freeze_vit: True"):
        build()(batch)


def test_checkpointed_layers_have_the_same_names_and_gradients(build, samples, likeliest_negatives):
    models = [build(dropout=0.0, vit_grad_ckpt=kept, vit_ckpt_layer=1) for kept in (False, True)]
    for model in models:
        model.train()(dict(samples))["loss"].backward()
    plain, again = ({name: p.grad for name, p in model.named_parameters()} for model in models)
    assert plain.keys() == again.keys()
    for name, gradient in plain.items():
        assert gradient is None or torch.allclose(gradient, again[name], atol=1e-6), name


def test_weights_that_do_not_fit_are_errors(build, bert, vit_file, tmp_path):
    folder = str(bert[1])
    for keys, told in (
        ({"text_weights": folder, "text_heads": 4}, "has 2 attention heads, model.text_heads is 4"),
        ({"text_weights": folder, "text_depth": 3}, "encoder.layer.2.*expected a BERT of the model's text_depth"),
        ({"text_weights": folder, "text_mlp_width": 64}, "make text_width, text_mlp_width and text_depth"),
        ({"text_weights": folder, "text_width": 32}, "make text_width and vocabulary those of these weights"),
        ({"vocabulary": None}, "the text towers have no vocabulary"),
        ({"vocabulary": str(tmp_path / "absent.txt")}, "there is no vocabulary"),
        ({"vit_weights": str(vit_file), "vit_width": 32}, "does not fit a ViT of these sizes"),
        ({"image_size": 33}, "image_size 33 is no multiple of patch_size 8"),
        ({"queu_size": 4}, "unknown key model.queu_size .did you mean 'queue_size'"),
        ({"momentum": 1.0}, "expected a share"),
        ({"pretrained": "x.pth"}, "load_pretrained is False"),
        ({"load_pretrained": True}, "there is no such file"),
    ):
        with pytest.raises(ValueError, match=told):
            build(**keys)


def save(tmp_path, state) -> dict:
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": state}, path)
    return {"load_pretrained": True, "pretrained": str(path)}


def test_goes_on_from_a_checkpoint_in_full(build, tmp_path):
    first = build(seed=1)
    state = first.state_dict()
    state["queue_ptr"] += 4
    loaded = build(seed=2, **save(tmp_path, state)).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_a_checkpoint_of_runner_base_another_queue_and_image_size(build, tmp_path):
    first = build(seed=1)
    still = {name for name, p in first.named_parameters() if not p.requires_grad}
    state = {name: value for name, value in first.state_dict().items() if name not in still}
    second = build(seed=2, queue_size=20, image_size=64, **save(tmp_path, state))
    name = "blocks.0.attn.qkv.weight"
    assert torch.equal(second.visual_encoder_m.state_dict()[name], state[f"visual_encoder.{name}"])
    assert second.image_queue.shape == (32, 20) and second.queue_ptr.item() == 0
    assert second.visual_encoder.pos_embed.shape == (1, 65, 64)
    assert torch.equal(second.visual_encoder.pos_embed[:, 0], state["visual_encoder.pos_embed"][:, 0])


def test_a_frozen_tower_may_be_left_out_of_a_checkpoint(build, vit_file, tmp_path):
    frozen = {"freeze_vit": True, "vit_weights": str(vit_file)}
    first = build(seed=1, **frozen)
    state = {name: value for name, value in first.state_dict().items() if not name.startswith("visual_encoder")}
    second = build(seed=2, **frozen, **save(tmp_path, state))
    loaded = second.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in first.state_dict().items())


def test_a_checkpoint_that_does_not_fit_says_why(build, tmp_path):
    state = build(seed=1).state_dict()
    with pytest.raises(ValueError, match="(?s)does not fit this model.*vision_proj.weight"):
        build(embed_dim=16, **save(tmp_path, state))
    less = {name: value for name, value in state.items() if name != "itm_head.bias"}
    with pytest.raises(ValueError, match="(?s)does not fit this model.*itm_head.bias"):
        build(**save(tmp_path, less))
    (tmp_path / "words.pth").write_text("no checkpoint")
    with pytest.raises(ValueError, match="no checkpoint with weights under 'model'"):
        build(load_pretrained=True, pretrained=str(tmp_path / "words.pth"))


class Loader(list):
    """Batches of a retrieval set."""

    def __init__(self, batches, dataset):
        super().__init__(batches)
        self.dataset = dataset


@torch.no_grad()
def test_retrieval_takes_features_too(build, vit_file, samples):
    model = build(vit_weights=str(vit_file), freeze_vit=True).eval()
    features = model.visual_encoder(samples["image"])
    scores = []
    for batch in ({"image": samples["image"]}, {"image_features": features}):
        gallery = SimpleNamespace(text=samples["text_input"], image=list(range(len(features))))
        scores.append(model.compute_sim_matrix(Loader([batch], gallery), SimpleNamespace(k_test=2)))
    assert (scores[0][0] == scores[1][0]).all() and (scores[0][1] == scores[1][1]).all()


@torch.no_grad()
def test_retrieval_without_matching_is_by_the_cosines_of_stocks_encoders(build, samples):
    model = build().eval()
    texts, count = samples["text_input"], len(samples["image"])
    order = list(range(count))[::-1]  # a loader need not keep the set's order
    batch = {"image": samples["image"][order], "index": torch.tensor(order)}
    gallery = GallerySize(texts, count)
    of_images, of_texts = model.compute_sim_matrix(Loader([batch], gallery), SimpleNamespace(k_test=0))
    tokens = model.tokenizer(texts, padding=True, return_tensors="pt", truncation=True, max_length=model.max_txt_len)
    read = model.text_encoder.forward_text(tokens).last_hidden_state[:, 0]
    image = F.normalize(model.vision_proj(model.visual_encoder(samples["image"])[:, 0]), dim=-1)
    cosines = (image @ F.normalize(model.text_proj(read), dim=-1).T).numpy()
    np.testing.assert_allclose(of_images, cosines, atol=1e-5)
    np.testing.assert_array_equal(of_texts, of_images.T)
    with pytest.raises(ValueError, match="gave 1 images .1 different. of"):
        only = {"image": samples["image"][:1], "index": torch.tensor([0])}
        model.compute_sim_matrix(Loader([only], gallery), SimpleNamespace(k_test=0))


class GallerySize:
    """A retrieval set's texts and number of images."""

    def __init__(self, text, count):
        self.text, self.count = text, count

    def __len__(self):
        return self.count


def test_a_shallower_text_tower_keeps_the_last_layer(build, bert):
    """A BERT of two layers: with one, it is the second."""
    model, folder = bert
    kept = build(text_weights=str(folder), text_depth=1, vocabulary=None).text_encoder.encoder.layer
    assert len(kept) == 1
    theirs = model.encoder.layer[1].attention.self.query.weight
    assert torch.equal(kept[0].attention.self.query.weight, theirs)
