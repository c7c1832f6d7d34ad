import math

import pytest
import torch
import torch.nn.functional as F

from lavis_tldr.models.contrastive_loss import contrastive_loss, sigmoid_loss


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    return [F.normalize(torch.randn(5, 8, generator=generator), dim=-1) for _ in range(2)]


def cosine(a, b) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def test_contrastive_loss_against_loops(pairs):
    image, text = pairs
    total = 0.0
    for i in range(5):
        texts = [math.exp(7 * cosine(image[i], text[j])) for j in range(5)]
        images = [math.exp(7 * cosine(image[j], text[i])) for j in range(5)]
        total -= math.log(texts[i] / sum(texts)) + math.log(images[i] / sum(images))
    assert contrastive_loss(image, text, torch.tensor(7.0)).item() == pytest.approx(total / 10, rel=1e-5)


def test_sigmoid_loss_against_loops(pairs):
    image, text = pairs
    total = 0.0
    for i in range(5):
        for j in range(5):
            z = 1 if i == j else -1
            total += math.log1p(math.exp(-z * (6 * cosine(image[i], text[j]) - 3)))
    found = sigmoid_loss(image, text, torch.tensor(6.0), torch.tensor(-3.0))
    assert found.item() == pytest.approx(total / 5, rel=1e-5)


def test_by_hand():
    unit = torch.eye(2)
    # Logits are 2 on the diagonal and 0 else.
    assert contrastive_loss(unit, unit, torch.tensor(2.0)).item() == pytest.approx(math.log(1 + math.exp(-2)))
    # 2 + 1 for the own text, -(0 + 1) for the other.
    expected = math.log1p(math.exp(-3)) + math.log1p(math.exp(1))
    assert sigmoid_loss(unit, unit, torch.tensor(2.0), torch.tensor(1.0)).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", [contrastive_loss, lambda *given: sigmoid_loss(*given, torch.tensor(-10.0))])
def test_is_in_float32_under_autocast(pairs, loss):
    scale = torch.tensor(100.0)
    expected = loss(*pairs, scale)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(*pairs, scale)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
