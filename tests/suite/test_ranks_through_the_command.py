"""The command in two gloo processes: answers, pairs and captions are those of one, and written once."""

import json
import os
from pathlib import Path

import official_sets
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from lavis_tldr import cli
from lavis_tldr.suite.command import evaluate
from lavis_tldr.suite.results import collect

# Odd numbers of samples: one process has more than the other.
ANSWERED = {number: ("other", ["red"] * number + ["dog"] * (10 - number)) for number in range(1, 8)}
EXAMPLES = {f"dev-{n // 2}-{n % 2}-0": str(n % 3 == 0) for n in range(7)}
CAPTIONS = {70 + n: [f"a {colour} one", f"all {colour}"] for n, colour in enumerate(official_sets.COLOURS)}
OPTIONS = ["run.num_workers=0", "run.batch_size_eval=2"]
CHECKPOINTS = {"vilt_vqa": "vqa", "vilt_nlvr": "nlvr2", "blip_pretrain_tldr": "coco_caption"}


def evaluate_all(folder: Path, out: Path) -> list[str]:
    """Statuses of the three evaluations, each by a checkpoint of its own."""
    statuses = []
    for arch, name in CHECKPOINTS.items():
        checkpoint = folder / arch / "checkpoint_last.pth"
        asked = {"data": folder / "data", "out": out, "device": "cpu", "options": OPTIONS}
        statuses += [outcome.status for outcome in evaluate(checkpoint, names=[name], **asked)]
    return statuses


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["RANK"] = str(rank)  # as torch.distributed.run sets it; results are written by the first alone
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    statuses = evaluate_all(Path(folder), Path(folder) / "two")
    (Path(folder) / f"{rank}.json").write_text(json.dumps(statuses))
    dist.destroy_process_group()


def test_two_ranks_find_what_one_does(tmp_path):
    official_sets.lay_out_vqa(tmp_path / "data", ANSWERED)
    official_sets.lay_out_nlvr2(tmp_path / "data", EXAMPLES)
    official_sets.lay_out_karpathy(tmp_path / "data", CAPTIONS, "coco-caption")
    for name in ("vqa", "nlvr2", "coco-caption"):
        assert cli.main(["data", "convert", name, "--data", str(tmp_path / "data")]) == 0
    (tmp_path / "answers.json").write_text('["dog", "two", "red"]')
    changes = {"answer_list": str(tmp_path / "answers.json")}
    official_sets.write_vilt_checkpoint(tmp_path / "vilt_vqa", "vilt_vqa", **changes)
    official_sets.write_vilt_checkpoint(tmp_path / "vilt_nlvr", "vilt_nlvr")
    official_sets.write_blip_checkpoint(tmp_path / "blip_pretrain_tldr")

    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    assert evaluate_all(tmp_path, tmp_path / "one") == ["done"] * 3
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)] == [["done"] * 3] * 2

    alone, together = (sorted((tmp_path / out).rglob("result/*.json")) for out in ("one", "two"))
    assert [path.name for path in alone] == [path.name for path in together] and len(alone) == 3
    predictions = [json.loads(path.read_text()) for path in alone]
    assert [json.loads(path.read_text()) for path in together] == predictions
    assert sorted(map(len, predictions)) == [5, 7, 7]
    told = [{row.get("answer", row.get("prediction", row.get("caption"))) for row in rows} for rows in predictions]
    assert all(len(different) > 1 for different in told)  # a model that tells all the same would hide a mix-up
    figures = [{result.evaluation: result.figures for result in collect([tmp_path / out])} for out in ("one", "two")]
    assert figures[0] == figures[1] and len(figures[0]) == 3
