"""A name for a model's weights that does not depend on the file that they came from."""

import hashlib
import json

import torch
from torch import nn


def parameters_digest_of(module: nn.Module) -> str:
    """Digest of a module's tensors in single precision, whatever its settings are; caches and checkpoints keep it."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def weights_digest(module: nn.Module, settings: dict) -> str:
    """Digest of all that decides a module's output; stages keep it, so its values must stay.

    Args:
        module: Its state dict, extra state included, is taken in.
        settings: What the weights do not tell, such as the number of heads; plain values.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().contiguous()
            digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            digest.update(json.dumps(value, sort_keys=True).encode())
    return digest.hexdigest()
