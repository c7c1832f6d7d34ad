"""The fast step against LAVIS's own BlipPretrain with the same weights."""

import pytest
import torch
from lavis.models.blip_models.blip_pretrain import BlipPretrain
from transformers import BertTokenizer

from lavis_tldr.models.blip.config import read_config
from lavis_tldr.models.blip.image_tower import build_image_tower
from lavis_tldr.models.blip.losses import draw_negatives
from lavis_tldr.models.blip.text_towers import build_text_towers

LOSSES = ("loss", "loss_itc", "loss_itm", "loss_lm")


@pytest.fixture
def pair(config, build, vocabulary, monkeypatch):
    """Stock's model, all of it, and ours, with equal weights and no dropout."""

    def make():
        torch.manual_seed(0)
        ours = build(dropout=0.0)
        for parameter in ours.parameters():
            if parameter.ndim > 1:
                parameter.data += 0.1 * torch.randn_like(parameter)  # momentum encoders of their own, too
        monkeypatch.setattr(BlipPretrain, "init_tokenizer", classmethod(lambda cls: ours.tokenizer))
        values = read_config(config(dropout=0.0, fast=False))
        sizes = {name: values[name] for name in ("queue_size", "alpha", "embed_dim", "momentum", "max_txt_len")}
        stock = BlipPretrain(build_image_tower(values), *build_text_towers(values, len(ours.tokenizer)), **sizes)
        stock.load_state_dict(ours.state_dict())
        return stock, ours

    return make


def test_has_the_names_and_shapes_of_stock(pair):
    stock, ours = pair()
    shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in (stock, ours)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_losses_gradients_and_what_training_changes_are_stocks(pair, samples, likeliest_negatives, alpha):
    stock, ours = pair()
    stock.alpha = ours.alpha = alpha
    for _ in range(2):  # the second step has a queue of the first one's features, and moved momentum encoders
        outputs = []
        for model in (stock, ours):
            model.train()
            model.zero_grad()
            output = model(dict(samples))
            output["loss"].backward()
            outputs.append(output)
        for name in LOSSES:
            assert outputs[1][name].item() == pytest.approx(outputs[0][name].item(), abs=1e-5)
        gradients = [{n: p.grad for n, p in model.named_parameters() if p.grad is not None} for model in (stock, ours)]
        assert gradients[0].keys() == gradients[1].keys()
        for name, gradient in gradients[0].items():
            assert torch.allclose(gradients[1][name], gradient, atol=1e-5), name
        for model in (stock, ours):
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter -= 0.1 * parameter.grad
    for (name, theirs), mine in zip(stock.state_dict().items(), ours.state_dict().values(), strict=True):
        assert torch.allclose(theirs.float(), mine.float(), atol=1e-5), name
    assert ours.queue_ptr.tolist() == [8]


def test_a_wrong_weight_shows_in_the_losses(pair, samples, likeliest_negatives):
    """The comparison above must be able to fail."""
    stock, ours = pair()
    layer = ours.text_encoder.encoder.layer[0]
    layer.crossattention.self.value.weight.data.mul_(1.5)
    theirs, mine = stock.eval()(dict(samples)), ours.eval()(dict(samples))
    assert abs(theirs["loss_itm"] - mine["loss_itm"]) > 1e-4
    assert abs(theirs["loss_lm"] - mine["loss_lm"]) > 1e-4


def test_without_fast_it_is_stocks_own_step(build, samples, likeliest_negatives):
    slow, fast = build(dropout=0.0, fast=False), build(dropout=0.0)
    fast.load_state_dict(slow.state_dict())
    theirs, mine = slow(dict(samples)), fast(dict(samples))
    assert theirs.intermediate_output.itm_logits.shape == (12, 2)
    assert set(mine) == {*LOSSES, "itm_accuracy", "temperature"}
    for name in LOSSES:
        assert theirs[name].item() == pytest.approx(mine[name].item(), abs=1e-5)


def test_logits_stay_single_under_autocast(build, samples, likeliest_negatives):
    model = build(dropout=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(samples)
    assert output["loss_itc"].dtype == torch.float32 and torch.isfinite(output["loss"])


def test_negatives_are_others_and_likelier_ones_are_drawn_more():
    logits = torch.tensor([[9.0, 2.0, 0.0]]).repeat(3, 1)
    torch.manual_seed(0)
    drawn = torch.stack([draw_negatives(logits) for _ in range(400)])  # (400, 3)
    assert (drawn != torch.arange(3)).all()
    # Row 0 chooses between columns 1 and 2: softmax 9.1e-4 + 1e-4 against 1.2e-4 + 1e-4, so 82% against 18%.
    assert (drawn[:, 0] == 1).float().mean().item() == pytest.approx(0.82, abs=0.06)


def test_the_queue_turns_round_whatever_its_size(build):
    model = build(queue_size=6)
    features = torch.arange(8.0).repeat(32, 1).T  # pair i is all i
    model._dequeue_and_enqueue(features[:4], -features[:4])
    model._dequeue_and_enqueue(features[4:], -features[4:])
    assert model.image_queue[0].tolist() == [6, 7, 2, 3, 4, 5]
    assert model.text_queue[5].tolist() == [-6, -7, -2, -3, -4, -5]
    assert model.queue_ptr.tolist() == [2]
    with pytest.raises(ValueError, match="model.queue_size is 6, the batch of all processes 8"):
        model._dequeue_and_enqueue(features, features)


def test_the_tokenizer_gives_lavis_ids(build, vocabulary):
    theirs = BertTokenizer(str(vocabulary))
    theirs.add_special_tokens({"bos_token": "[DEC]"})
    theirs.add_special_tokens({"additional_special_tokens": ["[ENC]"]})
    ours = build().tokenizer
    captions = ["A red Kite!", "café  über, x2", "it's \u2014 odd \u4e2d", ""]
    options = {"padding": "max_length", "truncation": True, "max_length": 12}
    assert ours(captions, **options).input_ids == theirs(captions, **options).input_ids
    assert (ours.bos_token_id, ours.enc_token_id) == (theirs.bos_token_id, theirs.additional_special_tokens_ids[0])
