"""The evaluation tasks in two gloo processes: the figures of one."""

import json
from pathlib import Path

import clips
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from evaluation_sets import Zoo, album_loader
from lavis.common.registry import registry
from tiny_blip import build_tiny, register_tiny
from torch.utils.data import DataLoader
from vilts import tiny_vilt

from lavis_tldr.tasks.retrieval_evaluation import RetrievalEvaluationTask
from lavis_tldr.tasks.zero_shot import ZeroShotTask


@torch.no_grad()
def figures_of_all(folder: Path) -> dict:
    """By CLIP, BLIP (re-ranked; prompts by projections) and ViLT (all pairs)."""
    for path in ("output_dir", "result_dir"):
        registry.mapping["paths"][path] = str(folder)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        register_tiny(folder, patch)
        models = {"clip": clips.stock_clip(), "blip": build_tiny(), "vilt": tiny_vilt(folder, "vilt_retrieval")}
        tasks = (
            ("retrieval", RetrievalEvaluationTask(k_test=4, pairs_per_pass=5), album_loader()),
            ("zero-shot", ZeroShotTask("single", pairs_per_pass=5), DataLoader(Zoo(), batch_size=4)),
        )
        for name, model in models.items():
            for what, task, loader in tasks:
                result = task.evaluation(model.eval(), loader)
                found[f"{name} {what}"] = task.after_evaluation(result, "test", 0)
    return found


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    own = Path(folder) / str(rank)
    own.mkdir()
    (own / "figures.json").write_text(json.dumps(figures_of_all(own)))
    dist.destroy_process_group()


def test_two_ranks_find_what_one_does(tmp_path, monkeypatch):
    """Nine images on two: one has five of them, the other four. The second writes no results."""
    for path in ("output_dir", "result_dir"):  # for its end; `figures_of_all` sets them
        monkeypatch.setitem(registry.mapping["paths"], path, "")
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    alone = figures_of_all(tmp_path)
    for rank in range(2):
        found = json.loads((tmp_path / str(rank) / "figures.json").read_text())
        assert found == {name: pytest.approx(figures) for name, figures in alone.items()}
        assert (tmp_path / str(rank) / "evaluate.txt").exists() == (rank == 0)
