import json
import pickle

import pytest
import torch
from captioners import CAPTIONS, blocks, save_as_lavis, tiny_captioner, tiny_config
from omegaconf import OmegaConf
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.generation import DecodingOptions
from lavis_tldr.models.tokenizer import read_vocabulary


def build(folder, **changes) -> CodebookCaptioner:
    return CodebookCaptioner.from_config(tiny_config(folder, **changes))


def write_bert(folder, tmp_path, **changes):
    folder.mkdir()
    vocabulary = read_vocabulary(tiny_config(tmp_path).vocabulary)
    settings = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "hidden_size": 32}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=40, **{**settings, **changes})
    save_file(BertModel(config).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return folder


def test_unknown_key_names_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"unknown key model.num_code \(did you mean 'num_codes'"):
        build(tmp_path, num_code=3)


@pytest.mark.parametrize("model_type", ["base", "small", "tiny"])
def test_packaged_defaults_have_the_same_keys(model_type):
    path = CodebookCaptioner.PRETRAINED_MODEL_CONFIG_DICT[model_type]
    tiny = OmegaConf.load(CodebookCaptioner.PRETRAINED_MODEL_CONFIG_DICT["tiny"])
    assert set(OmegaConf.load(path).model) == set(tiny.model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrained": "absent.pth"}, "model.pretrained: there is no file absent.pth"),
        ({"load_finetuned": True}, "model.finetuned names no checkpoint"),
        ({"load_finetuned": True, "finetuned": "absent.pth"}, "model.finetuned: there is no file"),
        ({"vit_weights": "absent.pth"}, "model.vit_weights: there is no file"),
        ({"vocabulary": None}, "no vocabulary.*model.text_weights.*model.vocabulary"),
        ({"vocabulary": "absent.txt"}, "there is no vocabulary absent.txt"),
        ({"image_size": 33}, "33 is no multiple of patch_size 8"),
        ({"num_codes": 1}, "at least 2 codes"),
        ({"code_decay": 1.5}, "decay is 1.5"),
    ],
)
def test_bad_configs_say_what_to_do(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, **changes)


class Intruder:
    def __reduce__(self):
        return (open, (INTRUDED, "w"))


INTRUDED = ""


@pytest.mark.parametrize("key", ["pretrained", "vit_weights"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch, key):
    monkeypatch.setattr("test_captioner_config.INTRUDED", str(tmp_path / "intruded"))
    path = tmp_path / "weights.pth"
    with open(path, "wb") as file:
        pickle.dump({"model": Intruder()}, file, protocol=2)
    with pytest.raises(ValueError, match=f"model.{key}: .*plain weights"):
        build(tmp_path, **{key: str(path)})
    assert not (tmp_path / "intruded").exists()


@pytest.mark.parametrize("content", [torch.zeros(3), {"model": {"weight": torch.zeros(3)}}, [1, 2]])
def test_another_kind_of_checkpoint_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="is not a checkpoint of codebook_captioner"):
        build(tmp_path, pretrained=str(tmp_path / "other.pth"))


@pytest.mark.parametrize(
    "changes", [{"num_codes": 8}, {"quantize": False}, {"text_depth": 1}, {"code_dim": 4}, {"text_depth": 3}]
)
def test_checkpoint_of_another_shape_is_refused(tmp_path, changes):
    path = save_as_lavis(tiny_captioner(tmp_path), tmp_path / "a.pth", drop_frozen=False)
    with pytest.raises(ValueError, match="a.pth does not fit this model"):
        build(tmp_path, pretrained=str(path), **changes)


def test_checkpoint_over_another_still_encoder_is_refused(tmp_path):
    path = save_as_lavis(tiny_captioner(tmp_path), tmp_path / "a.pth")
    torch.manual_seed(1)
    with pytest.raises(ValueError, match="leaves out the visual encoder.*vit_weights.*run.save_frozen"):
        build(tmp_path, pretrained=str(path))


@pytest.mark.parametrize("load", [{"pretrained": ...}, {"load_finetuned": True, "finetuned": ...}])
@pytest.mark.parametrize("drop_frozen", [True, False])
def test_checkpoint_round_trip(tmp_path, load, drop_frozen):
    model = tiny_captioner(tmp_path).eval()
    save_file(model.visual_encoder.state_dict(), tmp_path / "vit.safetensors")
    model.allow_tokens(CAPTIONS)
    model.code_names, model.codebook_started = ["kite", "sea"], True
    path = save_as_lavis(model, tmp_path / "a.pth", drop_frozen)
    load = {key: str(path) if value is ... else value for key, value in load.items()}
    vit = {"vit_weights": str(tmp_path / "vit.safetensors")} if drop_frozen else {}
    # Neither the vocabulary's file nor the BERT is needed any more.
    again = build(tmp_path, vocabulary=None, text_weights="absent", **vit, **load).eval()
    assert again.code_names == ["kite", "sea"] and again.codebook_started
    assert again.output_tokens == model.output_tokens
    samples = {"image": blocks()}
    for num_beams in (1, 3):
        options = DecodingOptions(num_beams=num_beams, max_length=8)
        assert again.generate(samples, options) == model.generate(samples, options)


def test_still_encoder_may_be_trained_on(tmp_path):
    model = tiny_captioner(tmp_path)
    save_file(model.visual_encoder.state_dict(), tmp_path / "vit.safetensors")
    path = save_as_lavis(model, tmp_path / "a.pth")
    again = build(tmp_path, pretrained=str(path), vit_weights=str(tmp_path / "vit.safetensors"), freeze_vit=False)
    assert all(p.requires_grad for p in again.visual_encoder.parameters())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_vit_weights_are_loaded(tmp_path, suffix):
    state = tiny_captioner(tmp_path).visual_encoder.state_dict()
    path = str(tmp_path / f"vit{suffix}")
    save_file(state, path) if suffix == ".safetensors" else torch.save({"model": state}, path)
    loaded = tiny_captioner(tmp_path, seed=1, vit_weights=path).visual_encoder.state_dict()
    assert all(torch.equal(state[name], loaded[name]) for name in state)


def test_positions_are_interpolated_to_the_image_size(tmp_path):
    state = tiny_captioner(tmp_path).visual_encoder.state_dict()
    save_file(state, tmp_path / "vit.safetensors")
    model = tiny_captioner(tmp_path, image_size=48, vit_weights=str(tmp_path / "vit.safetensors"))
    assert model.num_patches == 36
    assert model.encode_tokens(blocks(size=48)).shape == (4, 37, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {n: v for n, v in s.items() if n != "norm.weight"}, "lacks 1 weights.*norm.weight"),
        (lambda s: {**s, "norm.weight": torch.zeros(5)}, "does not fit a ViT of these sizes"),
        (lambda s: {**s, "pos_embed": torch.zeros(1, 12, 32)}, "does not fit a ViT of these sizes"),
        (lambda s: {**s, "blocks.0.ls1.gamma": torch.ones(32)}, "scales its layers"),
    ],
)
def test_vit_weights_that_do_not_fit(tmp_path, change, message):
    state = tiny_captioner(tmp_path).visual_encoder.state_dict()
    save_file(change(state), tmp_path / "vit.safetensors")
    with pytest.raises(ValueError, match=message):
        build(tmp_path, vit_weights=str(tmp_path / "vit.safetensors"))


def test_file_that_is_no_weights(tmp_path):
    (tmp_path / "vit.safetensors").write_text("nothing of the kind")
    with pytest.raises(ValueError, match="no file of plain weights"):
        build(tmp_path, vit_weights=str(tmp_path / "vit.safetensors"))


def test_text_weights_bring_vocabulary_and_words(tmp_path):
    bert = write_bert(tmp_path / "bert", tmp_path)
    model = build(tmp_path, vocabulary=None, text_weights=str(bert))
    assert len(model.tokenizer) == model.decoder.word_embeddings.num_embeddings
    assert model.decoder.position_embeddings.num_embeddings == 40
    path = save_as_lavis(model, tmp_path / "a.pth", drop_frozen=False)
    build(tmp_path, vocabulary=None, pretrained=str(path))


def test_text_weights_with_other_heads_are_refused(tmp_path):
    bert = write_bert(tmp_path / "bert", tmp_path, num_attention_heads=4)
    with pytest.raises(ValueError, match="4 attention heads, model.text_heads is 2"):
        build(tmp_path, vocabulary=None, text_weights=str(bert))


def test_text_weights_without_a_hub(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(ValueError, match="no such folder, and the hub gave none.*Give a local folder"):
        build(tmp_path, vocabulary=None, text_weights="nobody/nothing")
