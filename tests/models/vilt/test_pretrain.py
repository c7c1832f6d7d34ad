import pytest
import torch
from vilts import CAPTIONS, pairs, tiny_vilt

PARTS = ("loss_itm", "loss_mlm", "itm_accuracy", "mlm_accuracy")


def test_fits_16_pairs(fitted):
    """Told by chance, matching costs ln 2 = .69 and a word ln 45 = 3.8."""
    last = {name: sum(step[name] for step in fitted.figures[-10:]) / 10 for name in PARTS}
    assert last["loss_itm"] < 0.1 and last["itm_accuracy"] > 0.98, last
    assert last["loss_mlm"] < 0.1 and last["mlm_accuracy"] > 0.98, last


def test_gives_the_loss_and_its_parts(tmp_path):
    out = tiny_vilt(tmp_path)({**pairs(), "epoch": 0, "iters": 3, "num_iters_per_epoch": 9})
    assert set(out) == {"loss", *PARTS} and all(value.ndim == 0 for value in out.values())
    torch.testing.assert_close(out["loss"], out["loss_itm"] + out["loss_mlm"])


def test_one_pass_computes_what_two_compute(tmp_path):
    """With the same draws: matching on unmasked, words on masked text."""
    model = tiny_vilt(tmp_path).eval()
    samples = pairs()
    torch.manual_seed(5)
    out = model(samples)
    torch.manual_seed(5)
    ids, mask = model.tokenize(samples["text_input"])
    shift = int(torch.randint(1, 4, ()))
    own = torch.randperm(4) < 2
    rows = [i if own[i] else (i + shift) % 4 for i in range(4)]
    hidden, targets = model.masker(ids)
    _, pooled = model.vilt(ids[rows], mask[rows], *model.embed_image(samples))
    loss_itm = torch.nn.functional.cross_entropy(model.itm_score(pooled), own.long())
    text, _ = model.vilt(hidden, mask, *model.embed_image(samples))
    logits = model.mlm_score(text).flatten(0, 1)
    loss_mlm = torch.nn.functional.cross_entropy(logits, targets.flatten(), ignore_index=-100)
    torch.testing.assert_close(out["loss_itm"], loss_itm)
    torch.testing.assert_close(out["loss_mlm"], loss_mlm)


def test_draws_are_torchs_own(tmp_path):
    """Generators put back give the same step again, dropout and all."""
    model = tiny_vilt(tmp_path, dropout=0.1).train()
    state = torch.get_rng_state()
    first, other = model(pairs())["loss"], model(pairs())["loss"]
    torch.set_rng_state(state)
    assert model(pairs())["loss"] == first != other


def test_every_parameter_gets_a_gradient(tmp_path):
    """So that DDP needs no find_unused_parameters."""
    model = tiny_vilt(tmp_path)
    model(pairs())["loss"].backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_padded_images_are_taken_with_their_mask(tmp_path):
    model = tiny_vilt(tmp_path).eval()
    samples = pairs()
    pixel_mask = torch.ones(4, 32, 32)
    pixel_mask[0, :, 16:] = 0
    losses = []
    for fill in (0.0, 7.0):
        image = samples["image"].clone()
        image[0, :, :, 16:] = fill
        torch.manual_seed(0)
        losses.append(model({"image": image, "text_input": CAPTIONS[:4], "pixel_mask": pixel_mask})["loss"])
    torch.testing.assert_close(losses[0], losses[1])


def test_half_precision_is_close(tmp_path):
    """Under autocast losses are still taken in single precision; bfloat16 keeps 8 bits."""
    model = tiny_vilt(tmp_path).eval()
    torch.manual_seed(0)
    exact = model(pairs())
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(pairs())
    assert rough["loss"].dtype == torch.float32
    torch.testing.assert_close(rough["loss"], exact["loss"], rtol=0.03, atol=0)


def test_frozen_layers_stay_as_they_are(tmp_path):
    model = tiny_vilt(tmp_path, freeze_layers=1, dropout=0.1).train()
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(pairs())["loss"].backward()
    optimizer.step()
    still = {name for name, value in model.named_parameters() if torch.equal(value, before[name])}
    embedding = "vilt.embeddings"
    images = {f"{embedding}.{n}" for n in ("cls_token", "position_embeddings", "patch_embeddings.projection.weight")}
    images.add(f"{embedding}.patch_embeddings.projection.bias")
    blocks = {name for name in before if name.startswith("vilt.encoder.layer.0.")}
    assert still == images | blocks
    assert not model.vilt.encoder.layer[0].dropout.training and model.vilt.encoder.layer[1].dropout.training


def test_more_frozen_layers_than_there_are(tmp_path):
    with pytest.raises(ValueError, match="model.freeze_layers is 3; the network has 2 blocks"):
        tiny_vilt(tmp_path, freeze_layers=3)
