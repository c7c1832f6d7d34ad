"""Two gloo processes: DDP's gradients are the mean of the shards', and queues hold both shards' features."""

import copy

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel


def shard(samples: dict, rank: int) -> dict:
    half = slice(2 * rank, 2 * rank + 2)
    return {**samples, "image": samples["image"][half], "text_input": samples["text_input"][half]}


def step(model, samples: dict, rank: int):
    torch.manual_seed(10 + rank)  # the draws of the negatives
    model(shard(samples, rank))["loss"].backward()


def worker(rank: int, folder: str, model, samples: dict) -> None:
    torch.set_num_threads(1)  # the parent's other threads are not there in a fork
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    step(DistributedDataParallel(model), samples, rank)
    gradients = {name: p.grad for name, p in model.named_parameters()}
    torch.save({"gradients": gradients, "state": model.state_dict()}, f"{folder}/rank{rank}.pth")
    dist.destroy_process_group()


def test_gradients_are_the_mean_of_the_shards(build, samples, tmp_path):
    model = build(dropout=0.0).train()
    alone = [copy.deepcopy(model) for _ in range(2)]
    for rank, single in enumerate(alone):
        step(single, samples, rank)
    # Forked, so that the processes need not import LAVIS anew.
    mp.start_processes(worker, args=(str(tmp_path), model, samples), nprocs=2, start_method="fork")
    reports = [torch.load(tmp_path / f"rank{rank}.pth") for rank in range(2)]
    grads = [dict(single.named_parameters()) for single in alone]
    for name, found in reports[0]["gradients"].items():
        if found is not None:
            expected = (grads[0][name].grad + grads[1][name].grad) / 2
            assert torch.allclose(found, expected, atol=1e-6), name
            assert torch.equal(found, reports[1]["gradients"][name]), name
    for name in ("image_queue", "text_queue", "queue_ptr"):
        first, second = (report["state"][name] for report in reports)
        assert torch.equal(first, second)
    for rank, single in enumerate(alone):
        own = slice(2 * rank, 2 * rank + 2)
        assert torch.allclose(reports[0]["state"]["image_queue"][:, own], single.image_queue[:, :2])
    assert reports[0]["state"]["queue_ptr"].item() == 4
