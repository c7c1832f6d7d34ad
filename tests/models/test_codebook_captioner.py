import pytest
import torch
import torch.nn.functional as F
from captioners import CAPTIONS, blocks, tiny_captioner

from lavis_tldr.models.generation import DecodingOptions
from lavis_tldr.models.image_encoding import ImageEncoding, pool_tokens
from lavis_tldr.models.text_decoder import CodeMemory


@pytest.fixture
def samples():
    return {"image": blocks(), "text_input": CAPTIONS}


def started(folder, samples, **changes):
    """A captioner whose codes lie among the features."""
    model = tiny_captioner(folder, **changes)
    model.allow_tokens(CAPTIONS)
    if model.quantizer is not None:
        features = model.quantizer.lookup_space(model.encode_tokens(samples["image"])[:, 1:]).flatten(0, 1)
        model.quantizer.set_codes(features[:: len(features) // model.quantizer.num_codes].detach())
    return model


def dense(memory: CodeMemory) -> torch.Tensor:
    """The features that a memory stands for, (M, L, D)."""
    return torch.cat([memory.table[memory.codes] + memory.position, memory.others], 1)


@pytest.mark.parametrize("changes", [{}, {"code_decay": None}, {"code_dim": 8, "normalize_codes": True}])
@pytest.mark.parametrize("freeze", [True, False])
def test_losses_and_gradients(tmp_path, samples, changes, freeze):
    model = tiny_captioner(tmp_path, freeze_vit=freeze, **changes).train()
    losses = model(samples)
    assert losses["loss"].isfinite() and losses["loss_lm"] > 0 and losses["loss_commitment"] > 0
    torch.testing.assert_close(losses["loss"].detach(), losses["loss_lm"] + losses["loss_commitment"])
    losses["loss"].backward()
    for name, p in model.named_parameters():
        assert (p.grad is not None) == p.requires_grad, name
    assert all(p.requires_grad != freeze for p in model.visual_encoder.parameters())
    assert model.visual_encoder.training != freeze and model.decoder.training


def test_tokens_stand_for_their_images(tmp_path, samples):
    model = tiny_captioner(tmp_path).eval()
    tokens = {"image_tokens": model.encode_tokens(samples["image"]), "text_input": CAPTIONS}
    torch.testing.assert_close(model(tokens)["loss"], model(samples)["loss"])
    assert torch.equal(model.encode_images(tokens).codes, model.encode_images(samples).codes)
    half = {"image_tokens": tokens["image_tokens"].half()}
    assert model.image_tokens(half).dtype == torch.float32


@torch.no_grad()
def test_the_decoder_is_given_codes_and_pooled_tokens(tmp_path, samples):
    model = started(tmp_path, samples).eval()
    images = model.encode_images(samples)
    memory = dense(model.memory_of(images))  # (4, L + 2, D)
    num_patches = model.num_patches
    assert memory.shape == (4, num_patches + 2, model.encoder_width)
    tokens = model.encode_tokens(samples["image"])
    wanted = model.quantizer.codebook[images.codes] + model.patch_position
    torch.testing.assert_close(memory[:, :num_patches], wanted)
    layer = model.decoder.layers[0].cross_attention.key
    torch.testing.assert_close(model.memory_of(images).map_by(layer), layer(memory))
    mean, cls = tokens[:, 1:].mean(1), tokens[:, 0]
    wanted = torch.stack([mean, cls], 1).half().float() + model.pooled_position
    torch.testing.assert_close(memory[:, num_patches:], wanted)


@torch.no_grad()
def test_stored_in_half_precision_pooled_tokens_are_the_same(tmp_path, samples):
    model = started(tmp_path, samples).eval()
    images = model.encode_images(samples)
    stored = ImageEncoding(images.codes, images.pooled.half().float())
    assert torch.equal(dense(model.memory_of(stored)), dense(model.memory_of(images)))
    total, count = model.caption_log_likelihood(stored, CAPTIONS)
    model.label_smoothing = 0.0
    torch.testing.assert_close(model(samples)["loss_lm"], -total.sum() / count.sum())


def test_training_on_codes_is_training_on_features(tmp_path, samples):
    """Gradients of codes looked up in a table against those of the quantized features themselves."""
    model = started(tmp_path, samples, learn_offsets=True, dropout=0.0).eval()
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    model(samples)["loss"].backward()
    found = {name: p.grad.clone() for name, p in learnt.items()}
    model.zero_grad()
    model.memory_of = lambda images: model.memory(model.quantizer.decode(images.codes), images.pooled)
    model(samples)["loss"].backward()
    for name, p in learnt.items():
        torch.testing.assert_close(found[name], p.grad, atol=1e-6, rtol=1e-4, msg=name)
    assert found["quantizer.offsets"].abs().sum() > 0


@torch.no_grad()
def test_without_pooled_tokens_codes_are_all(tmp_path, samples):
    model = started(tmp_path, samples, pooled_tokens=False).eval()
    images = model.encode_images(samples)
    assert dense(model.memory_of(images)).shape[1] == model.num_patches
    others = ImageEncoding(images.codes, images.pooled + 1)
    assert torch.equal(dense(model.memory_of(others)), dense(model.memory_of(images)))


@pytest.mark.parametrize("quantize", [True, False])
@pytest.mark.parametrize("draw,dropped", [(0.29, True), (0.31, False)])
def test_patch_dropout(tmp_path, samples, monkeypatch, quantize, draw, dropped):
    settings = {"patch_dropout": 0.3, "dropout": 0.0, "quantize": quantize}
    model = started(tmp_path, samples, **settings)
    monkeypatch.setattr(torch, "rand", lambda size: torch.tensor(draw))
    result = model(samples)
    result["loss"].backward()
    learnt = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert all(grad is not None for grad in learnt.values())  # as data-parallel training wants it
    assert (learnt["patch_position"].abs().sum() == 0) == dropped
    tokens = model.encode_tokens(samples["image"])
    patches = model.quantizer.decode(model.quantizer.encode(tokens[:, 1:])) if quantize else tokens[:, 1:]
    memory = model.memory(patches, pool_tokens(tokens))
    model._memory_and_commitment = lambda _: (memory[:, -2:] if dropped else memory, torch.zeros(()))
    model.patch_dropout = 0.0
    torch.testing.assert_close(result["loss_lm"], model(samples)["loss_lm"])


def test_patch_dropout_is_of_training_alone(tmp_path, samples, monkeypatch):
    model = started(tmp_path, samples, patch_dropout=0.9, dropout=0.0, freeze_codes=True)
    monkeypatch.setattr(torch, "rand", lambda size: torch.tensor(0.0))
    seen = model.eval()(samples)["loss_lm"]
    model.train()
    assert model(samples)["loss_lm"] != seen
    model.patch_dropout = 0.0
    torch.testing.assert_close(model(samples)["loss_lm"], seen)


@torch.no_grad()
def test_without_patch_tokens_pooled_ones_are_all(tmp_path, samples):
    model = started(tmp_path, samples, patch_tokens=False, patch_dropout=0.5).eval()
    assert model.patch_position is None and model.patch_dropout == 0
    images = model.encode_images(samples)
    pooled = images.pooled.half().float().unflatten(1, (2, -1)) + model.pooled_position
    torch.testing.assert_close(model.memory_of(images), pooled)
    plain = tiny_captioner(tmp_path, patch_tokens=False, quantize=False).eval()
    tokens = plain.encode_tokens(samples["image"])
    memory = plain.memory(tokens[:, 1:], pool_tokens(tokens))
    torch.testing.assert_close(memory, pooled - model.pooled_position + plain.pooled_position)
    others = ImageEncoding(images.codes.flip(0), images.pooled)
    options = DecodingOptions(num_beams=2, max_length=6)
    assert model.generate_from(images, options) == model.generate_from(others, options)
    assert images.codes.unique().numel() > 1  # they are there to be clustered


def test_without_patch_tokens_all_that_learns_has_a_gradient(tmp_path, samples):
    model = tiny_captioner(tmp_path, patch_tokens=False, freeze_vit=False, code_decay=None).train()
    losses = model(samples)
    losses["loss"].backward()
    assert losses["loss_commitment"] > 0
    for name, p in model.named_parameters():
        assert (p.grad is not None) == p.requires_grad, name


def test_patch_tokens_and_dropout_that_make_no_sense(tmp_path):
    assert tiny_captioner(tmp_path, patch_dropout=0.5, pooled_tokens=False).patch_dropout == 0
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match="patch_dropout is .*expected a share of batches"):
            tiny_captioner(tmp_path, patch_dropout=share)
    with pytest.raises(ValueError, match="captions need one of them"):
        tiny_captioner(tmp_path, patch_tokens=False, pooled_tokens=False)
    with pytest.raises(ValueError, match="learn_offsets is True, but without model.patch_tokens"):
        tiny_captioner(tmp_path, patch_tokens=False, learn_offsets=True)


def test_a_checkpoint_without_patch_tokens_wants_a_model_without(tmp_path):
    state = tiny_captioner(tmp_path, patch_tokens=False).state_dict()
    with pytest.raises(ValueError, match="1 weights missing .first: .'patch_position'.*patch_tokens"):
        tiny_captioner(tmp_path).load_weights(state, "a.pth")


def test_loss_by_hand(tmp_path, samples):
    model = tiny_captioner(tmp_path, label_smoothing=0.0, quantize=False).eval()
    tokens = model.encode_tokens(samples["image"])
    pooled = torch.stack([tokens[:, 1:].mean(1), tokens[:, 0]], 1).half().float()
    memory = torch.cat([tokens[:, 1:] + model.patch_position, pooled + model.pooled_position], 1)
    wanted = []
    for row, caption in zip(memory, CAPTIONS, strict=True):
        (ids,) = model.tokenizer.encode([caption], 30)
        for t in range(1, len(ids)):
            logits = model.decoder.logits(model.decoder(torch.tensor([ids[:t]]), row[None])[0, -1])
            wanted.append(-F.log_softmax(logits, -1)[ids[t]])
    torch.testing.assert_close(model(samples)["loss"], torch.stack(wanted).mean(), atol=1e-5, rtol=1e-5)


def test_several_captions_an_image(tmp_path, samples):
    model = tiny_captioner(tmp_path, label_smoothing=0.0).eval()
    once = model({"image": samples["image"][:2].repeat_interleave(2, 0), "text_input": CAPTIONS})
    folded = model({"image": samples["image"][:2], "text_input": CAPTIONS})
    torch.testing.assert_close(once["loss_lm"], folded["loss_lm"])


def test_allowed_tokens_confine_head_and_captions(tmp_path, samples):
    model = tiny_captioner(tmp_path, label_smoothing=0.0).eval()
    model.allow_tokens(CAPTIONS[:1])
    allowed = {i for row in model.tokenizer.encode(CAPTIONS[:1], 30) for i in row}
    assert set(model.output_tokens) == allowed | {model.tokenizer.pad}
    words = set(CAPTIONS[0].split())
    assert all(set(caption.split()) <= words for caption in model.generate(samples))
    model.allow_tokens(CAPTIONS[1:2])
    assert set(model.output_tokens) > allowed
    # A caption of other words does not disturb: only its [SEP] and the words in common count.
    assert model(samples)["loss"].isfinite()


@pytest.mark.parametrize("quantize", [True, False])
def test_learns_four_images_by_heart(tmp_path, samples, quantize):
    model = started(tmp_path, samples, quantize=quantize, label_smoothing=0.0).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        model(samples)["loss"].backward()
        optimizer.step()
    model.eval()
    assert float(model(samples)["loss_lm"]) < 0.1
    assert model.generate(samples, DecodingOptions(num_beams=1)) == CAPTIONS
    assert model.generate(samples, DecodingOptions(num_beams=3)) == CAPTIONS
    if quantize:
        assert model.generate_from(model.encode_images(samples), DecodingOptions()) == CAPTIONS
        own, _ = model.caption_log_likelihood(model.encode_images(samples), CAPTIONS)
        others, _ = model.caption_log_likelihood(model.encode_images(samples), CAPTIONS[::-1])
        assert (own > others + 5).all()


@torch.no_grad()
def test_log_likelihood_by_hand(tmp_path, samples):
    model = started(tmp_path, samples).eval()
    images = model.encode_images(samples)
    rows = model.output_tokens
    total, count = model.caption_log_likelihood(images, CAPTIONS)
    for i, caption in enumerate(CAPTIONS):
        (ids,) = model.tokenizer.encode([caption], 30)
        memory = dense(model.memory_of(images[i : i + 1]))
        wanted = 0.0
        for t in range(1, len(ids)):
            logits = model.decoder.logits(model.decoder(torch.tensor([ids[:t]]), memory)[0, -1])
            wanted += float(logits[ids[t]] - logits[rows].logsumexp(0))
        assert float(total[i]) == pytest.approx(wanted, rel=1e-4)
        assert int(count[i]) == len(ids) - 1


def test_unknown_words_are_learnt_but_not_said(tmp_path, samples):
    model = tiny_captioner(tmp_path).eval()
    model.allow_tokens(["a ж kite"])
    unk = model.tokenizer.unk
    assert unk in model.output_tokens
    with torch.no_grad():
        model.decoder.head_bias[unk] = 100.0
    assert all(set(caption.split()) <= {"a", "kite"} and caption for caption in model.generate(samples))


def test_tokens_never_trained_do_not_count(tmp_path, samples):
    model = tiny_captioner(tmp_path).eval()
    model.allow_tokens(["a kite"])
    images = model.encode_images(samples)[:1]
    # "red" is not allowed, so that a, kite and [SEP] are left.
    assert model.caption_log_likelihood(images, ["a red kite"])[1].tolist() == [3]
    assert model.caption_log_likelihood(images, ["a kite"])[1].tolist() == [3]


def test_several_captions_share_an_image(tmp_path, samples):
    model = tiny_captioner(tmp_path).eval()
    images = model.encode_images(samples)[:2]
    folded, _ = model.caption_log_likelihood(images, CAPTIONS)
    alone, _ = model.caption_log_likelihood(images[[0, 0, 1, 1]], CAPTIONS)
    torch.testing.assert_close(folded, alone)


@pytest.mark.parametrize("decay", [0.99, None])
def test_bf16_autocast(tmp_path, samples, decay):
    model = started(tmp_path, samples, code_decay=decay)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.train()(samples)["loss"]
        loss.backward()
        captions = model.eval().generate(samples, DecodingOptions(num_beams=2, max_length=8))
    assert loss.isfinite() and len(captions) == 4
    assert model.patch_position.grad.isfinite().all()


def test_without_a_codebook_there_are_no_codes(tmp_path, samples):
    model = tiny_captioner(tmp_path, quantize=False)
    with pytest.raises(ValueError, match="no codebook"):
        model.encode_images(samples)


def test_extra_state_of_another_vocabulary(tmp_path):
    model = tiny_captioner(tmp_path)
    state = model.state_dict()
    state["_extra_state"] = {**state["_extra_state"], "vocabulary": ["[PAD]"]}
    with pytest.raises(ValueError, match="vocabulary is not this model's"):
        model.load_weights(state, "a.pth")


def test_pooled_tokens_are_the_patches_mean_and_cls():
    tokens = torch.tensor([[[9.0, 8.0], [1.0, 2.0], [3.0, 6.0]]])  # [CLS] and two patches
    assert pool_tokens(tokens).tolist() == [[2.0, 4.0, 9.0, 8.0]]
