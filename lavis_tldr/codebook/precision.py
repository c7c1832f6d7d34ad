"""How exactly float32 is computed on a GPU, which may round the factors of products to 10 bits (TF32) for speed."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Products and convolutions of float32 in float32, whatever the program has set besides.

    For what must not depend on the machine, such as which of two codes is nearer. PyTorch's own default is full for
    products, but TF32 for convolutions.
    """
    with matmul_precision("highest"):
        convolutions = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = convolutions


@contextmanager
def inference(device_type: str, *, bf16: bool) -> Iterator[None]:
    """Inference under bfloat16 autocast, or else in all of float32."""
    autocast = torch.autocast(device_type, torch.bfloat16, enabled=bf16)
    with torch.inference_mode(), autocast, nullcontext() if bf16 else full_float32():
        yield


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Products of float32 as `torch.set_float32_matmul_precision` has it: highest, high (TF32) or medium (bfloat16)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
