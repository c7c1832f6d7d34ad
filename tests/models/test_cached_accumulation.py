"""Accumulation of cached features against the one big batch."""

import pytest
import torch
from clips import assert_same_gradients, batch, gradients, stock_clip, tower_clip

from lavis_tldr.models.cached_accumulation import accumulate

PARTS = [slice(0, 6), slice(6, 8), slice(8, 16)]  # unlike in size


def accumulated(model, parts=PARTS, backward=torch.Tensor.backward) -> dict:
    model.zero_grad()
    return accumulate(model, model, [batch(part) for part in parts], backward)


def whole(model) -> dict:
    model.zero_grad()
    figures = model(batch())
    figures["loss"].backward()
    return figures


@pytest.mark.parametrize("loss", ["contrastive", "sigmoid"])
@pytest.mark.parametrize(
    "build", [lambda folder, loss: stock_clip(loss=loss), lambda f, loss: tower_clip(f, loss=loss)]
)
def test_is_the_big_batch(tmp_path, loss, build):
    model = build(tmp_path, loss).train()
    figures = whole(model)
    expected = gradients(model)
    found = accumulated(model)
    assert found.keys() == figures.keys()
    for name, value in figures.items():
        torch.testing.assert_close(found[name], value.detach())
    assert_same_gradients(gradients(model), expected)
    assert expected["logit_scale"].abs() > 1e-4
    # Summing micro-batches' own losses is something else.
    model.zero_grad()
    for part in PARTS:
        (model(batch(part))["loss"] / 3).backward()
    with pytest.raises(AssertionError):
        assert_same_gradients(gradients(model), expected)


def test_one_micro_batch_is_a_plain_step(tmp_path):
    model = tower_clip(tmp_path, dropout=0.3).train()
    torch.manual_seed(3)
    expected = whole(model)["loss"].item(), gradients(model)
    torch.manual_seed(3)
    assert accumulated(model, [slice(16)])["loss"].item() == expected[0]
    assert_same_gradients(gradients(model), expected[1])


def test_both_passes_draw_alike(tmp_path):
    """With dropout and patch dropout, against one graph over all micro-batches with the same draws."""
    model = tower_clip(tmp_path, dropout=0.3, patch_dropout=0.5).train()
    torch.manual_seed(3)
    pairs = [model.encode_pairs(batch(part)) for part in PARTS]
    after = torch.rand(1)
    sides = [torch.cat(side) for side in zip(*pairs, strict=True)]
    model.pair_loss(type(pairs[0])(*sides))["loss"].backward()
    expected = gradients(model)
    torch.manual_seed(3)
    accumulated(model)
    assert torch.equal(torch.rand(1), after)  # and the generator goes on as after one pass
    assert_same_gradients(gradients(model), expected)
    torch.manual_seed(4)
    accumulated(model)
    with pytest.raises(AssertionError):
        assert_same_gradients(gradients(model), expected)


def test_under_autocast(tmp_path):
    """Every weight has its gradient, and none of it is computed backward in half precision that was not forward."""
    model = tower_clip(tmp_path).train()
    outside = []

    def backward(loss):
        outside.append(not torch.is_autocast_enabled("cpu"))
        loss.backward()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        figures = whole(model)
        expected = gradients(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # anew: what is cast first is cast without a gradient
        found = accumulated(model, backward=backward)
    assert outside == [True, True, True]
    assert found["loss"].dtype == torch.float32
    assert found["loss"].item() == pytest.approx(figures["loss"].item(), rel=1e-2)
    for name, gradient in gradients(model).items():
        assert torch.cosine_similarity(gradient.flatten(), expected[name].flatten(), dim=0) > 0.98, name


def test_a_scaled_backward_scales_all(tmp_path):
    model = tower_clip(tmp_path).train()
    accumulated(model)
    expected = {name: 1024 * gradient for name, gradient in gradients(model).items()}
    accumulated(model, backward=lambda loss: (1024 * loss).backward())
    assert_same_gradients(gradients(model), expected)
