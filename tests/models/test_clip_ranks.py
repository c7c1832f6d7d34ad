"""Two gloo processes with half the batch each against one with the whole: losses and every gradient."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from clips import assert_same_gradients, batch, gradients, tower_clip
from torch.nn.parallel import DistributedDataParallel

from lavis_tldr.models.cached_accumulation import accumulate

LOSSES = ("contrastive", "sigmoid")


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    own = tuple(range(rank * 8, rank * 8 + 8))
    report = {}
    for loss in LOSSES:
        model = tower_clip(Path(folder) / str(rank), seed=rank, loss=loss).train()  # DDP makes them alike
        wrapped = DistributedDataParallel(model)
        figures = wrapped(batch(slice(own[0], own[-1] + 1)))
        figures["loss"].backward()
        report[loss] = figures["loss"].item(), gradients(model)
        model.zero_grad()
        parts = [slice(own[0], own[0] + 3), slice(own[0] + 3, own[0] + 8)]
        apart, no_sync = [], wrapped.no_sync
        wrapped.no_sync = lambda apart=apart, no_sync=no_sync: apart.append(True) or no_sync()
        figures = accumulate(wrapped, model, [batch(part) for part in parts], torch.Tensor.backward)
        assert len(apart) == 1  # processes reduce at the last of two
        report[f"{loss}, accumulated"] = figures["loss"].item(), gradients(model)
    torch.save(report, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_are_one_with_the_whole_batch(tmp_path):
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    reports = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    for loss in LOSSES:
        model = tower_clip(tmp_path, loss=loss).train()
        figures = model(batch())
        figures["loss"].backward()
        expected = gradients(model)
        for name in (loss, f"{loss}, accumulated"):
            losses, found = zip(*(report[name] for report in reports), strict=True)
            assert sum(losses) / 2 == pytest.approx(figures["loss"].item(), rel=1e-6)
            for ranks_gradients in found:
                assert_same_gradients(ranks_gradients, expected)
