"""The runner in two gloo processes on the CPU: same weights in both, every sample once."""

import json

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from toy_slope import GappyLine, Line, Slope, make_runner


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model = Slope()
    runner = make_runner(
        folder,
        model,
        datasets={"line": {"train": GappyLine(12, {0, 3, 4, 9, 11}), "val": Line(5)}},
        scores=[float(rank), float(rank)],  # rank 0's decides
        distributed=True,
        batch_size_train=3,
        valid_splits=["val"],
        test_splits=[],
    )
    runner.train()
    report = {
        "weight": model.slope.weight.item(),
        "seen": model.seen,
        "evaluated": [indices for _, _, indices in runner.task.evaluated],
        "best": runner.best_agg_metrics,
    }
    with open(f"{folder}/rank{rank}.json", "w") as file:
        json.dump(report, file)
    dist.destroy_process_group()


def test_two_processes_train_one_model(tmp_path):
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    reports = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert reports[0]["weight"] == reports[1]["weight"] != 0
    for epoch in range(2):
        batches = [batch for report in reports for batch in report["seen"][2 * epoch : 2 * epoch + 2]]
        assert sorted(sum(batches, [])) == list(range(12))
    # Five samples over two processes, and none twice.
    assert [report["evaluated"][0] for report in reports] == [[0, 2, 4], [1, 3]]
    assert [report["best"] for report in reports] == [0.0, 0.0]
    saved = torch.load(tmp_path / "job/checkpoint_last.pth")
    assert saved["model"]["slope.weight"].item() == reports[0]["weight"]
    told = (tmp_path / "job/unreadable.tsv").read_text().splitlines()
    assert told == ["key\treason", *(f"line {index}\tbent" for index in (0, 11, 3, 4, 9))]  # in order of text
    lines = (tmp_path / "job/log.txt").read_text().splitlines()
    assert sum(line.startswith('{"train_loss"') or line.startswith('{"train_lr"') for line in lines) == 2
