"""The precision of float32 products: what is set around the code, and put back."""

import pytest
import torch

from lavis_tldr.codebook import quantizer
from lavis_tldr.codebook.precision import full_float32, matmul_precision


def settings() -> tuple:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def set_back():
    precision, tf32 = settings()
    yield
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = tf32


def test_full_inside_and_as_it_was_after():
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    with full_float32():
        assert settings() == ("highest", False)
    assert settings() == ("high", True)


def test_put_back_after_an_error_too():
    with pytest.raises(KeyError), matmul_precision("medium"):
        raise KeyError
    assert torch.get_float32_matmul_precision() == "highest"


def test_codes_are_looked_up_in_full(monkeypatch):
    seen, addmm = [], torch.addmm
    monkeypatch.setattr(quantizer.torch, "addmm", lambda *a, **k: seen.append(settings()) or addmm(*a, **k))
    with matmul_precision("high"):
        assert quantizer.nearest_code(torch.tensor([[3.0, 1.0]]), torch.tensor([[0.0, 0.0], [4.0, 0.0]])).tolist() == [
            1
        ]
    assert seen == [("highest", False)]
