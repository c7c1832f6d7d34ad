"""Every trainer on the device: alone, resumed across devices, in half precision."""

import json
import math

import pytest
import torch
from trainers import TRAINERS, write_run

from lavis_tldr.train import run

pytestmark = pytest.mark.parametrize("name", TRAINERS)


def losses(folder, job: str) -> list[float]:
    lines = (folder / "output" / job / "log.txt").read_text().splitlines()
    return [float(json.loads(line)["train_loss"]) for line in lines if line.startswith('{"train')]


@pytest.mark.parametrize("precision", [{}, {"bf16": True, "bf16_eval": True}, {"matmul_precision": "high"}], ids=str)
def test_a_lone_process_trains(crowd, tmp_path, device, name, precision):
    run(write_run(name, crowd, tmp_path, device, max_epoch=2, job_id="alone", **precision))
    first, second = losses(tmp_path, "alone")
    assert math.isfinite(first) and second < first


def test_float16_goes_with_the_fused_optimizer(crowd, tmp_path, device, name):
    runner = run(write_run(name, crowd, tmp_path, device, max_epoch=2, amp=True, job_id="amp"))
    assert all(group["fused"] for group in runner.optimizer.param_groups)
    assert (runner.scaler is not None) == (device != "cpu")  # on a CPU amp has no effect
    assert all(map(math.isfinite, losses(tmp_path, "amp")))


def test_resumes_on_another_device_and_back(crowd, tmp_path, device, name):
    last = None
    for epoch, where in enumerate((device, "cpu", device)):
        job = f"epoch{epoch}"
        resume = {"resume_ckpt_path": str(last)} if last else {}
        run(write_run(name, crowd, tmp_path, where, max_epoch=epoch + 1, job_id=job, **resume))
        assert len(losses(tmp_path, job)) == 1
        last = tmp_path / "output" / job / "checkpoint_last.pth"
    saved = torch.load(last, weights_only=True, map_location="cpu")
    assert saved["epoch"] == 2
    assert all(torch.isfinite(x).all() for x in saved["model"].values() if torch.is_tensor(x) and x.is_floating_point())
