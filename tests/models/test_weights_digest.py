"""Both digests are kept in files: these values must stay."""

import hashlib
import struct

import torch
from torch import nn

from lavis_tldr.models.weights_digest import weights_digest
from lavis_tldr.runners.checkpoint import parameters_digest


class Scaled(nn.Module):
    """Two parameters, a buffer and an extra state."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, -2.5]))
        self.bias = nn.Parameter(torch.tensor([[0.5]], dtype=torch.float64))
        self.register_buffer("steps", torch.tensor(3))

    def get_extra_state(self):
        return {"b": 1, "a": "x"}

    def set_extra_state(self, state):
        pass


def blake(*pieces: bytes) -> str:
    return hashlib.blake2b(b"".join(pieces), digest_size=16).hexdigest()


def test_digest_of_all_that_decides_the_output():
    assert weights_digest(Scaled(), {"heads": 2, "eps": 0.5}) == blake(
        b'{"eps": 0.5, "heads": 2}',
        *(b"_extra_state", b'{"a": "x", "b": 1}'),
        *(b"bias", b"torch.float64 (1, 1)", struct.pack("<d", 0.5)),
        *(b"scale", b"torch.float32 (2,)", struct.pack("<2f", 1.0, -2.5)),
        *(b"steps", b"torch.int64 ()", struct.pack("<q", 3)),
    )


def test_digest_of_some_parameters():
    module = Scaled()
    scale = (b"scale", struct.pack("<2f", 1.0, -2.5))
    assert parameters_digest(module, set()) == ""
    assert parameters_digest(module, {"scale"}) == blake(*scale)
    assert parameters_digest(module, {"scale", "bias"}) == blake(b"bias", struct.pack("<f", 0.5), *scale)
    assert parameters_digest(module.half(), {"scale"}) == blake(*scale)
