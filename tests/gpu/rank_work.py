"""What one rank of the tests' jobs does: ``python rank_work.py JOB.json RANK``.

NCCL refuses two ranks on one GPU, so they meet by gloo, which carries CUDA tensors too.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from omegaconf import OmegaConf

from lavis_tldr.codebook.quantizer import VectorQuantizer
from lavis_tldr.runners.process_group import process_group
from lavis_tldr.train import run
from lavis_tldr.user_errors import run_command


def train(job: dict, rank: int) -> None:
    """Train; then tell the codebook's bytes and how many codes were revived."""
    revived, revive = [], VectorQuantizer._revive

    def watched(quantizer, x):
        before = quantizer.codebook.clone()
        revive(quantizer, x)
        revived.append(int((quantizer.codebook != before).any(1).sum()))

    VectorQuantizer._revive = watched
    runner = run(job["config"])
    model = runner.unwrap_dist_model(runner.model)
    weights = {name: value.cpu() for name, value in model.state_dict().items() if torch.is_tensor(value)}
    torch.save({"weights": weights, "revived": sum(revived), "steps": len(revived)}, f"{job['folder']}/rank{rank}.pth")


def reduce(job: dict, rank: int) -> None:
    run(job["config"])


def stock(job: dict, rank: int) -> None:
    """Train, by a runner of LAVIS's own."""
    runner = run(job["config"])
    weights = {name: value.cpu() for name, value in runner.unwrap_dist_model(runner.model).state_dict().items()}
    torch.save({"weights": {k: v for k, v in weights.items() if torch.is_tensor(v)}}, f"{job['folder']}/rank{rank}.pth")


def fail(job: dict, rank: int) -> None:
    """Rank 1 raises while rank 0 waits for it in a collective."""
    with process_group(OmegaConf.create({"device": job["group"]})):
        if rank == 1:
            raise RuntimeError("the disk of rank 1 is full")
        dist.all_reduce(torch.ones(1, device=job["device"]))
        if job["device"] != "cpu":
            torch.cuda.synchronize()


def main() -> int:
    job, rank = json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2])
    work = {"train": train, "reduce": reduce, "stock": stock, "fail": fail}[job["work"]]
    if job["work"] == "fail":  # makes its own group, as a run does
        return run_command(lambda: work(job, rank))
    if job["device"] != "cpu":
        torch.cuda.set_device(0)
    store = f"file://{job['folder']}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=job["ranks"])
    work(job, rank)
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
