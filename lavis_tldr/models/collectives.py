"""Collectives that do nothing in a single process."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
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


def barrier() -> None:
    """Wait for the other processes."""
    if not _alone():
        dist.barrier()


def share(items: Sequence) -> Sequence:
    """Those of the items that fall to this process."""
    return items if _alone() else items[dist.get_rank() :: dist.get_world_size()]


def from_rank_zero(make: Callable[[], Any]) -> Any:
    """What rank 0 makes, on every rank; the others make nothing.

    Raises:
        Exception: What rank 0 raises; on the others, which would wait for it for ever, a ValueError (or RuntimeError,
            where it was none) that says so.
    """
    if _alone():
        return make()
    made, fault = None, None
    if dist.get_rank() == 0:
        try:
            made = make()
        except Exception as error:
            fault = error
    # The error itself may hold what can't be sent.
    box = [made, fault and (isinstance(fault, ValueError), str(fault))]
    dist.broadcast_object_list(box, src=0)
    if fault is not None:
        raise fault
    if box[1] is not None:
        of_user, message = box[1]
        raise (ValueError if of_user else RuntimeError)(f"process 0 stopped: {message}")
    return box[0]


def from_all_ranks(value: Any) -> list[Any]:
    """Every rank's value, in order of rank, on every rank."""
    if _alone():
        return [value]
    box = [None] * dist.get_world_size()
    dist.all_gather_object(box, value)
    return box


def rank() -> int:
    """This process's number, 0 where there is one alone."""
    return 0 if _alone() else dist.get_rank()


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all processes in order of rank, (B, D) -> (R B, D), with gradients to each process's own.

    The gradient of a process's rows is the sum of what all processes' losses say of them. Every process has to call
    this alike, with as many rows, and to go backward through it.
    """
    return rows if _alone() else _GatherRows.apply(rows)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        ctx.num_rows = len(rows)
        gathered = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)  # reduced in place
        dist.all_reduce(gradient)
        return gradient.narrow(0, dist.get_rank() * ctx.num_rows, ctx.num_rows)
