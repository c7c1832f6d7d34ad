"""Accumulation and clipping, against one batch by hand."""

import pytest
import torch
from torch import nn

from lavis_tldr.runners.updates import Updater


class Regression(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)

    def forward(self, samples):
        errors = (self.layer(samples["x"]) - samples["y"]) ** 2
        return {"loss": errors.mean(), "loss_half": errors.mean() / 2, "errors": errors, "size": len(errors)}


class Task:
    def train_figures(self, model, samples):
        return model(samples)


def batch(size=8):
    generator = torch.Generator().manual_seed(1)
    return {"x": torch.randn(size, 3, generator=generator), "y": torch.randn(size, 1, generator=generator)}


def parts(samples, count):
    split = {name: value.chunk(count) for name, value in samples.items()}
    return [{name: split[name][i] for name in split} for i in range(count)]


def updated(micro_batches, **options):
    model = Regression()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    figures = Updater(Task(), model, optimizer, **options)(micro_batches)
    return model.layer.weight.detach(), figures


def test_accumulation_gives_the_update_of_the_whole_batch():
    whole, figures = updated([batch()])
    accumulated, same = updated(parts(batch(), 4))
    torch.testing.assert_close(accumulated, whole)
    assert float(same["loss"]) == pytest.approx(float(figures["loss"]), rel=1e-6)
    assert float(same["grad_norm"]) == pytest.approx(float(figures["grad_norm"]), rel=1e-5)


def test_the_update_is_that_of_the_gradient_by_hand():
    samples, model = batch(), Regression()
    errors = model.layer(samples["x"]) - samples["y"]
    gradient = 2 * (errors * samples["x"]).mean(0)
    weight, _ = updated([samples])
    torch.testing.assert_close(weight[0], model.layer.weight[0] - 0.5 * gradient)


def test_figures_are_the_scalars_of_the_output():
    _, figures = updated([batch()])
    assert set(figures) == {"loss", "loss_half", "size", "grad_norm"}
    assert float(figures["loss_half"]) == pytest.approx(float(figures["loss"]) / 2)
    assert float(figures["size"]) == 8


def test_clipping_bounds_the_step_and_tells_the_norm_before():
    start = Regression().layer
    weight, figures = updated([batch()], max_grad_norm=0.01)
    assert float((weight - start.weight.detach()).norm()) <= 0.5 * 0.01 * 1.001
    assert float(figures["grad_norm"]) > 0.1


def test_bfloat16_runs_the_forward_pass_alone():
    seen = []

    class Watching(Regression):
        def forward(self, samples):
            seen.append(self.layer(samples["x"]).dtype)
            return super().forward(samples)

    model = Watching()
    Updater(Task(), model, torch.optim.SGD(model.parameters(), lr=0.1), precision=torch.bfloat16)([batch()])
    assert seen == [torch.bfloat16]
    assert model.layer.weight.grad is None and model.layer.weight.dtype == torch.float32


def test_a_task_without_figures_is_asked_for_its_loss():
    class Plain:
        def train_step(self, model, samples):
            return model(samples)["loss"]

    model = Regression()
    figures = Updater(Plain(), model, torch.optim.SGD(model.parameters(), lr=0.1))([batch()])
    assert set(figures) == {"loss", "grad_norm"}
