"""A BLIP pretraining's checkpoint in each stock BLIP model: strict, nothing lost, and the same function."""

import pytest
import torch
from lavis.common.registry import registry
from omegaconf import OmegaConf
from tiny_blip import IMAGE_SIZE, PATCH_SIZE, QUEUE_SIZE, build_tiny_pretraining, register_tiny

from lavis_tldr.models.conversion.blip import FOLLOWED, RULES
from lavis_tldr.models.conversion.outcome import Wishes
from lavis_tldr.models.conversion.targets import TARGETS, convert

NUM_LAYERS = 7  # NLVR2's merging layers begin at the seventh
CAPTIONS = ["a red kite", "two dogs on a beach"]
# The table of what each model has that no pretraining gives it.
HEAD = {f"cls_head.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")}
NEW = {
    "blip_nlvr": HEAD
    | {f"text_encoder.encoder.layer.6.crossattention.output.merge_layer.{kind}" for kind in ("weight", "bias")},
    "blip_classification": HEAD | {name.replace("cls_head", "cls_head_m") for name in HEAD},
}
DROPPED = {
    "blip_retrieval": {"text_decoder"},
    "blip_caption": {"text_encoder", "vision_proj", "text_proj", "itm_head", "temp", "queues", "momentum"},
    "blip_vqa": {"vision_proj", "text_proj", "itm_head", "temp", "queues", "momentum"},
    "blip_nlvr": {"text_decoder", "vision_proj", "text_proj", "itm_head", "temp", "queues", "momentum", "text_encoder"},
    "blip_classification": {"text_decoder", "vision_proj", "text_proj", "proj_m", "itm_head", "temp", "queues"},
    "blip_image_text_matching": {"text_decoder", "temp", "queues", "momentum"},
    "blip_feature_extractor": {"text_decoder", "itm_head", "queues", "momentum"},
}
GROUPS = {
    "queues": {"image_queue", "text_queue", "queue_ptr"},
    "momentum": {f"{name}_m" for name in FOLLOWED},
    "proj_m": {"vision_proj_m", "text_proj_m"},
}
TINY = Wishes(model_type="tiny")


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        register_tiny(tmp_path_factory.mktemp("tiny"), patch, num_layers=NUM_LAYERS)
        yield


@pytest.fixture(scope="module")
def pretrained():
    return build_tiny_pretraining()


@pytest.fixture(scope="module")
def whole(pretrained) -> dict:
    """A checkpoint with momentum weights, as runner_iter and runner_tldr write it."""
    return {"model": pretrained.state_dict(), "optimizer": {"state": {}}, "epoch": 3}


@pytest.fixture(scope="module")
def stock(pretrained, whole) -> dict:
    """As runner_base writes it: without what has no gradient."""
    still = {name for name, p in pretrained.named_parameters() if not p.requires_grad}
    return {**whole, "model": {name: v for name, v in whole["model"].items() if name not in still}}


def build(arch: str, path=None, **settings):
    """The stock model by its own ``from_config``, with ``pretrained: path``."""
    model_class = registry.get_model_class(arch)
    config = OmegaConf.load(model_class.default_config_path("tiny")).model
    config = OmegaConf.merge(
        config, {"load_finetuned": False, "pretrained": path and str(path), "num_classes": 3}, settings
    )
    torch.manual_seed(5)
    return model_class.from_config(config).eval()


def load(arch: str, conversion, tmp_path, **settings):
    """The stock model with the converted checkpoint, and what it missed and had no place for."""
    path = tmp_path / "converted.pth"
    torch.save(conversion.content, path)
    model = build(arch, path, **settings)
    result = model.load_state_dict(conversion.content["model"], strict=False)
    return model, set(result.missing_keys), result.unexpected_keys


def ids_of(model, first_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    text = model.tokenizer(CAPTIONS, padding="longest", return_tensors="pt")
    text.input_ids[:, 0] = first_id
    return text.input_ids, text.attention_mask


def matching_logits(model, images) -> torch.Tensor:
    ids, mask = ids_of(model, model.tokenizer.enc_token_id)
    tokens = model.visual_encoder.forward_features(images)
    atts = torch.ones(tokens.shape[:2], dtype=torch.long)
    return model.itm_head(
        model.text_encoder(ids, mask, encoder_hidden_states=tokens, encoder_attention_mask=atts)[0][:, 0]
    )


def cosines(model, images) -> torch.Tensor:
    text = model.tokenizer(CAPTIONS, padding="longest", return_tensors="pt")
    texts = model.text_proj(model.text_encoder.forward_text(text).last_hidden_state[:, 0])
    pictures = model.vision_proj(model.visual_encoder.forward_features(images)[:, 0])
    return torch.cosine_similarity(pictures[:, None], texts[None], dim=-1)


def caption_logits(model, images) -> torch.Tensor:
    ids, mask = ids_of(model, model.tokenizer.bos_token_id)
    tokens = model.visual_encoder.forward_features(images)
    atts = torch.ones(tokens.shape[:2], dtype=torch.long)
    return model.text_decoder(ids, mask, encoder_hidden_states=tokens, encoder_attention_mask=atts).logits


AGREE = {
    "blip_retrieval": (matching_logits, cosines),
    "blip_caption": (caption_logits,),
    "blip_vqa": (caption_logits,),
    "blip_image_text_matching": (matching_logits, cosines),
    "blip_feature_extractor": (cosines,),
}


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["stock", "whole"])
@pytest.mark.parametrize("arch", RULES)
def test_each_model_loads_in_full_and_computes_the_same(arch, kind, request, pretrained, whole, images, tmp_path):
    conversion = convert(request.getfixturevalue(kind), arch, TINY)
    model, missing, unexpected = load(arch, conversion, tmp_path)
    assert (missing, unexpected) == (NEW.get(arch, set()), [])
    assert set(conversion.new) == missing
    state = model.state_dict()
    if kind == "whole":
        taken = [name for name in whole["model"] if name in state and name != "queue_ptr"]
        assert all(torch.equal(state[name], whole["model"][name]) for name in taken)
        dropped = {name.split(".")[0] for name in conversion.dropped}
        assert dropped == set().union(*(GROUPS.get(part, {part}) for part in DROPPED[arch]))
    for function in AGREE.get(arch, ()):
        with torch.no_grad():
            assert torch.allclose(function(model, images), function(pretrained, images), atol=1e-6)


def test_weights_in_another_order_do_not_compute_the_same(whole, pretrained, images, tmp_path):
    """The comparison above must be able to fail."""
    name = "text_encoder.encoder.layer.0.crossattention.self.value.weight"
    shuffled = (
        whole["model"][name].flatten()[torch.randperm(whole["model"][name].numel())].view_as(whole["model"][name])
    )
    conversion = convert({"model": {**whole["model"], name: shuffled}}, "blip_image_text_matching", TINY)
    model, _, _ = load("blip_image_text_matching", conversion, tmp_path)
    with torch.no_grad():
        assert not torch.allclose(matching_logits(model, images), matching_logits(pretrained, images), atol=1e-3)


def test_nlvr_twins_start_as_the_one_attention(whole):
    state = convert(whole, "blip_nlvr", TINY).content["model"]
    cross = "text_encoder.encoder.layer.2.crossattention"
    for i in (0, 1):
        for part in ("query", "key", "value"):
            assert torch.equal(state[f"{cross}.self{i}.{part}.weight"], whole["model"][f"{cross}.self.{part}.weight"])
        assert torch.equal(state[f"{cross}.output.dense{i}.bias"], whole["model"][f"{cross}.output.dense.bias"])
    assert f"{cross}.self.query.weight" not in state and f"{cross}.output.dense.bias" not in state
    self_attention = "text_encoder.encoder.layer.2.attention.self.query.weight"
    assert torch.equal(state[self_attention], whole["model"][self_attention])


def test_momentum_weights_are_kept_or_start_as_copies(stock, whole):
    name = "visual_encoder.blocks.0.attn.qkv.weight"
    follower = name.replace("visual_encoder", "visual_encoder_m")
    kept, started = (convert(checkpoint, "blip_retrieval", TINY).content["model"] for checkpoint in (whole, stock))
    assert torch.equal(kept[follower], whole["model"][follower])
    assert torch.equal(started[follower], stock["model"][name])
    assert not torch.equal(kept[follower], kept[name])


def test_a_frozen_tower_that_stock_left_under_its_second_name_alone_is_found(whole):
    less = {name: value for name, value in whole["model"].items() if not name.startswith("visual_encoder.")}
    state = convert({"model": less}, "blip_caption", TINY).content["model"]
    assert torch.equal(state["visual_encoder.cls_token"], less["visual_encoder_m.cls_token"])


def test_resume_gives_stock_all_that_strict_loading_asks_for(stock, pretrained):
    conversion = convert(stock, "resume", Wishes())
    assert (conversion.content["epoch"], conversion.content["optimizer"]) == (3, {"state": {}})
    build_tiny_pretraining(seed=1).load_state_dict(conversion.content["model"], strict=True)
    momentum = {name for name, p in pretrained.named_parameters() if not p.requires_grad}
    assert set(conversion.made) == momentum and conversion.dropped == []


def test_retrieval_queues_stay_or_start_anew(whole):
    kept = convert(whole, "blip_retrieval", TINY).content["model"]
    assert torch.equal(kept["image_queue"], whole["model"]["image_queue"])
    assert kept["idx_queue"].tolist() == [[-100] * QUEUE_SIZE] and kept["idx_queue"].dtype == torch.int64
    conversion = convert(whole, "blip_retrieval", Wishes(queue_size=20, model_type="tiny"))
    anew = conversion.content["model"]
    assert anew["image_queue"].shape == anew["text_queue"].shape == (12, 20)
    assert torch.allclose(anew["text_queue"].norm(dim=0), torch.ones(20))
    assert anew["idx_queue"].shape == (1, 20) and anew["queue_ptr"].tolist() == [0]


def test_positions_follow_the_image_size(whole, tmp_path):
    size = 2 * IMAGE_SIZE
    conversion = convert(whole, "blip_retrieval", Wishes(image_size=size, model_type="tiny"))
    model, missing, unexpected = load("blip_retrieval", conversion, tmp_path, image_size=size)
    assert (missing, unexpected) == (set(), [])
    for name in ("visual_encoder.pos_embed", "visual_encoder_m.pos_embed"):
        before, after = whole["model"][name], conversion.content["model"][name]
        side = size // PATCH_SIZE
        assert torch.equal(after[:, 0], before[:, 0])  # [CLS]
        grid = before[:, 1:].unflatten(1, (side // 2, side // 2)).permute(0, 3, 1, 2)
        resized = torch.nn.functional.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
        assert torch.allclose(after[0, 1:], resized[0].flatten(1).T)
        assert torch.equal(model.state_dict()[name], after)


def test_what_does_not_fit_is_an_error(whole):
    with pytest.raises(ValueError, match=r"vision_proj.weight is \(12, 24\), expected \(16, 24\)"):
        convert(whole, "blip_retrieval", Wishes(model_type="tiny", settings=["embed_dim=16"]))
    words = dict(whole["model"])
    for name in list(words):
        if name.endswith("word_embeddings.weight"):
            words[name] = words[name][:-1]
    with pytest.raises(ValueError, match="word_embeddings.weight is"):
        convert({"model": words}, "blip_image_text_matching", TINY)
    fewer = {name: value for name, value in whole["model"].items() if "text_encoder.encoder.layer.3." not in name}
    with pytest.raises(ValueError, match=r"missing \(first: text_encoder.encoder.layer.3"):
        convert({"model": fewer}, "blip_vqa", TINY)
    with pytest.raises(ValueError, match=r"word_embeddings.weight is \(111, 16\), expected \(30524, 768\)"):
        convert(whole, "blip_caption", Wishes())  # stock's own size
    with pytest.raises(ValueError, match="multiple of the ViT's patch size, 8"):
        convert(whole, "blip_caption", Wishes(image_size=33, model_type="tiny"))


def test_other_checkpoints_and_targets_are_refused(whole):
    with pytest.raises(ValueError, match="no checkpoint of blip_pretrain: it has no text_proj"):
        convert(
            {"model": {"visual_encoder.x": torch.zeros(1), "text_encoder.x": torch.zeros(1), "vision_proj.w": 0}},
            "resume",
            Wishes(),
        )
    frozen = {name: value for name, value in whole["model"].items() if not name.startswith("visual_encoder")}
    with pytest.raises(ValueError, match="run.save_frozen: True"):
        convert({"model": frozen}, "blip_vqa", TINY)
    with pytest.raises(ValueError, match="did you mean 'blip_retrieval'"):
        convert(whole, "blip_retrival", Wishes())
    with pytest.raises(ValueError, match="no optimizer state"):
        convert({"model": whole["model"]}, "resume", Wishes())
    with pytest.raises(ValueError, match="takes no other option"):
        convert(whole, "resume", Wishes(image_size=64))
    assert set(TARGETS) == {"resume", "clip", *RULES}
