"""Collectives that do nothing in a single process."""

import torch.distributed as dist
from torch import Tensor


def _alone() -> bool:
    return not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1


def all_reduce(tensor: Tensor) -> Tensor:
    """The sum of the processes' tensors, in place."""
    if not _alone():
        dist.all_reduce(tensor)
    return tensor


def broadcast(tensor: Tensor) -> Tensor:
    """The first process's tensor, in place."""
    if not _alone():
        dist.broadcast(tensor, 0)
    return tensor
