"""Captions are stock ``blip_caption``'s with the same weights, with either kind of transformers' beam search."""

from functools import partial

import pytest
import torch
from lavis.common.registry import registry
from lavis.models.blip_models import blip
from lavis.models.blip_models.blip_caption import BlipCaption
from lavis.models.med import XBertLMHeadDecoder
from lavis.models.vit import VisionTransformerEncoder
from omegaconf import OmegaConf
from torch import nn
from transformers import BertTokenizer

import lavis_tldr
from lavis_tldr.models.blip.caption import BlipCaptionTLDR
from lavis_tldr.models.blip.captioner import PROMPT, BeamSearch, captioner_of, check_writes_captions

lavis_tldr.register()
PARTS = ("visual_encoder", "text_decoder")


def caption_weights(model) -> dict:
    return {name: value for name, value in model.state_dict().items() if name.split(".")[0] in PARTS}


@pytest.fixture
def stock(vocabulary, monkeypatch):
    """LAVIS's own model, with its own tokenizer and the weights of a tiny one of ours: ``stock(model)``."""
    monkeypatch.setattr(blip.BertTokenizer, "from_pretrained", lambda name: BertTokenizer(str(vocabulary)))

    def make(model) -> BlipCaption:
        norm = partial(nn.LayerNorm, eps=1e-6)
        sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2, "norm_layer": norm}
        decoder = XBertLMHeadDecoder(model.text_decoder.config)
        made = BlipCaption(VisionTransformerEncoder(**sizes), decoder, prompt=PROMPT)
        made.load_state_dict(caption_weights(model))
        return made.eval()

    return make


@pytest.fixture
def model(build):
    """A pretraining whose captions differ by image."""
    model = build(seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    for name, value in model.named_parameters():
        if value.ndim > 1 and name.split(".")[0] in PARTS:
            value.data.normal_(std=0.25, generator=generator)
    return model


@pytest.fixture
def decoded(monkeypatch):
    """Tokens of every decoding, in order."""
    tokens = []
    generate = XBertLMHeadDecoder.generate

    def spy(self, **options):
        tokens.append(generate(self, **options))
        return tokens[-1]

    monkeypatch.setattr(XBertLMHeadDecoder, "generate", spy)
    return tokens


@pytest.mark.parametrize(
    "search", [BeamSearch(max_length=24, min_length=14), BeamSearch(1, 24, 5), BeamSearch(3, 24, 5, 1.1)]
)
def test_captions_are_stocks(model, stock, samples, decoded, search):
    ours = captioner_of(model).generate(samples, search)
    of_stock = captioner_of(stock(model)).generate(samples, search)
    theirs = stock(model).generate(
        samples,
        num_beams=search.num_beams,
        max_length=search.max_length,
        min_length=search.min_length,
        repetition_penalty=search.repetition_penalty,
    )
    first, second, third = decoded
    assert first.tolist() == second.tolist() == third.tolist()
    assert len(set(ours)) > 1 and ours == of_stock
    # Stock cuts a fixed number of letters: one of the caption's where the first piece goes on from the prompt's last.
    assert all(theirs[i].strip() in (ours[i], ours[i][1:].strip()) for i in range(len(ours)))
    assert not any(mark in caption for caption in ours for mark in ("picture", "[SEP]", "[PAD]"))


def test_newer_transformers_repeat_the_images_themselves(model, stock, samples, monkeypatch):
    """From 4.27 on `generate` repeats whatever it is given; stock, which has repeated already, dies."""
    expected = captioner_of(model).generate(samples, BeamSearch(max_length=24))

    def expand_all(expand_size=1, is_encoder_decoder=False, input_ids=None, **others):
        repeated = {n: v.repeat_interleave(expand_size, 0) if torch.is_tensor(v) else v for n, v in others.items()}
        return input_ids.repeat_interleave(expand_size, 0), repeated

    monkeypatch.setattr(XBertLMHeadDecoder, "_expand_inputs_for_generation", staticmethod(expand_all))
    assert captioner_of(model).generate(samples, BeamSearch(max_length=24)) == expected
    with pytest.raises(RuntimeError):
        stock(model).generate(samples, max_length=24, min_length=5)


def test_lengths_count_the_prompt(model, samples, decoded):
    # [DEC] and ten letters
    captioner_of(model).generate(samples, BeamSearch(max_length=13, min_length=12))
    assert decoded[0].shape[1] == 13
    assert not (decoded[0][:, :12] == model.tokenizer.sep_token_id).any()
    with pytest.raises(ValueError, match="takes 11 of max_len 10 tokens"):
        captioner_of(model).generate(samples, BeamSearch(max_length=10))


def test_features_of_a_frozen_tower_stand_for_images(build, samples):
    model = build(seed=1, freeze_vit=True).eval()
    features = {"image_features": model.visual_encoder(samples["image"])}
    search = BeamSearch(max_length=24)
    assert captioner_of(model).generate(features, search) == captioner_of(model).generate(samples, search)
    with pytest.raises(ValueError, match="freeze_vit"):
        captioner_of(build(seed=1).eval()).generate(features, search)


def test_broken_weights_are_told(model, samples):
    model.text_decoder.cls.predictions.bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        captioner_of(model).generate(samples, BeamSearch())


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        ("clip", "no text decoder"),
        ("clip_pretrain", "no text decoder"),
        ("vilt_pretrain", "fills in masked words"),
        ("vilt_retrieval", "fills in masked words"),
        ("blip_image_text_matching", "nothing here"),
    ],
)
def test_others_refuse(arch, why):
    with pytest.raises(ValueError, match=f"can't write captions: .*{why}"):
        check_writes_captions(registry.get_model_class(arch))


@pytest.mark.parametrize("wrong", [{"num_beams": 0}, {"min_length": 21}, {"repetition_penalty": 0.0}])
def test_impossible_searches_are_refused(wrong):
    with pytest.raises(ValueError, match="expected num_beams >= 1"):
        BeamSearch(**wrong)


# The model that is fine-tuned


def caption_config(config, **keys):
    default = OmegaConf.load(BlipCaptionTLDR.default_config_path("tiny")).model
    return OmegaConf.merge(default, {"model_type": "tiny", "vocabulary": config().vocabulary, **keys})


def test_fine_tuning_starts_from_a_pretraining_and_has_stocks_loss(model, stock, config, samples, tmp_path):
    torch.save({"model": model.state_dict()}, tmp_path / "pretrained.pth")
    keys = {"load_pretrained": True, "pretrained": str(tmp_path / "pretrained.pth")}
    caption = BlipCaptionTLDR.from_config(caption_config(config, **keys)).eval()
    search = BeamSearch(max_length=24)
    assert captioner_of(caption).generate(samples, search) == captioner_of(model).generate(samples, search)
    assert caption.generate(samples, max_length=24) == captioner_of(model).generate(samples, search)
    prompted = {**samples, "text_input": [PROMPT + text for text in samples["text_input"]]}
    assert torch.allclose(caption(prompted)["loss"], stock(model)(prompted)["loss"], atol=1e-5)
    # and its own checkpoint
    torch.save({"model": caption.state_dict()}, tmp_path / "finetuned.pth")
    keys = {"load_finetuned": True, "finetuned": str(tmp_path / "finetuned.pth"), "image_size": 48}
    larger = BlipCaptionTLDR.from_config(caption_config(config, **keys))
    assert larger.visual_encoder.pos_embed.shape[1] == 1 + 36


def test_what_does_not_fit_is_told(config, tmp_path):
    torch.save({"model": {"text_decoder.x": torch.zeros(1)}}, tmp_path / "wrong.pth")
    keys = {"load_pretrained": True, "pretrained": str(tmp_path / "wrong.pth")}
    with pytest.raises(ValueError, match="does not fit this model"):
        BlipCaptionTLDR.from_config(caption_config(config, **keys))
    with pytest.raises(ValueError, match="unknown key model.queue_size"):
        BlipCaptionTLDR.from_config(caption_config(config, queue_size=3))
