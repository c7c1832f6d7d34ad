"""Gradient accumulation that gives a contrastive loss its large batch (GradCache, arXiv:2101.06983).

Summing the losses of micro-batches is another loss: each pair has fewer negatives. Here features of all micro-batches
are computed without gradients first, the loss of all of them together says what the gradient of each feature is, and
each micro-batch is then computed once more to take those gradients on to the weights. Memory is that of one
micro-batch; the price is the forward passes once more.

Differs from open_clip's ``--accum-freq``, which takes the full loss anew for each micro-batch: there a parameter of the
loss itself, such as the logit scale, is given the number of micro-batches times its gradient. Here the loss is
differentiated once.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class PairFeatures(NamedTuple):
    """Unit features of B pairs in float32.

    Attributes:
        image: (B, E).
        text: (B, E).
    """

    image: Tensor
    text: Tensor


class FeatureGradients(NamedTuple):
    """Gradients of a batch's loss that were found before.

    Attributes:
        pairs: Of the features of one micro-batch.
        parameters: Of the loss's own parameters.
    """

    pairs: PairFeatures
    parameters: list[Tensor]


class PairModel(Protocol):
    """What a model has that can be trained so.

    ``forward(samples)`` returns figures with ``loss``; ``forward(samples, gradients=)`` a ``loss`` that is the inner
    product of those gradients with what they are gradients of, `inner_product`.
    """

    device: torch.device

    def encode_pairs(self, samples: Mapping[str, Any]) -> PairFeatures: ...

    def pair_loss(self, pairs: PairFeatures) -> dict[str, Tensor]: ...

    def loss_parameters(self) -> list[nn.Parameter]: ...


def accumulate(
    model: nn.Module,
    module: PairModel,
    micro_batches: Sequence[Mapping[str, Any]],
    backward: Callable[[Tensor], None],
) -> dict[str, Tensor]:
    """Add the gradients of one batch, given in micro-batches, to the weights' ``.grad``.

    To be called under the autocast of the training, if there is any; ``backward`` is called outside of it. Both passes
    over a micro-batch draw the same random numbers, and the generators are left as one pass leaves them.

    Args:
        model: The bare model, or its DistributedDataParallel wrapper, which then reduces at the last micro-batch alone.
        module: The bare model, in training mode.
        micro_batches: The samples, at least one; with several processes as many pairs in all on each.
        backward: Goes backward from a loss, ``loss.backward()`` or a gradient scaler's ``scale(loss).backward()``. Not
            to be divided by the number of micro-batches.

    Returns:
        Figures of the whole batch, detached: ``loss`` and the others that the model gives.
    """
    if len(micro_batches) == 1:
        figures = model(micro_batches[0])
        _backward_without_autocast(module, figures["loss"], backward)
        return _detached(figures)
    cached, states = [], []
    with torch.no_grad():
        for samples in micro_batches:
            states.append(_generator_states(module.device))
            cached.append(module.encode_pairs(samples))
    torch.clear_autocast_cache()  # not every torch drops weights cast without a gradient from it by itself
    figures, gradients = _loss_and_gradients(module, cached)
    for number, samples in enumerate(micro_batches):
        last = number == len(micro_batches) - 1
        _set_generator_states(module.device, states[number])
        with nullcontext() if last or model is module else model.no_sync():
            loss = model(samples, gradients=gradients[number])["loss"]
            _backward_without_autocast(module, loss, backward)
    return figures


def inner_product(pairs: PairFeatures, parameters: Sequence[Tensor], gradients: FeatureGradients) -> Tensor:
    """A scalar whose gradient of each feature and parameter is the given one."""
    given = [*gradients.pairs, *gradients.parameters]
    return torch.stack([(a * b).sum() for a, b in zip([*pairs, *parameters], given, strict=True)]).sum()


def _loss_and_gradients(
    module: PairModel, cached: list[PairFeatures]
) -> tuple[dict[str, Tensor], list[FeatureGradients]]:
    """Figures of the whole batch, and what each micro-batch is to go backward from."""
    parameters = module.loss_parameters()
    whole = PairFeatures(*(torch.cat(side).requires_grad_() for side in zip(*cached, strict=True)))
    figures = module.pair_loss(whole)
    image, text, *of_parameters = torch.autograd.grad(figures["loss"], [*whole, *parameters])
    sizes = [len(pairs.image) for pairs in cached]
    found = [PairFeatures(*sides) for sides in zip(image.split(sizes), text.split(sizes), strict=True)]
    # The parameters' whole gradient goes with the last micro-batch, at which processes reduce.
    nothing = [torch.zeros_like(gradient) for gradient in of_parameters]
    gradients = [FeatureGradients(pairs, nothing) for pairs in found[:-1]]
    return _detached(figures), [*gradients, FeatureGradients(found[-1], of_parameters)]


def _backward_without_autocast(module: PairModel, loss: Tensor, backward: Callable[[Tensor], None]) -> None:
    # Under autocast, what was computed in float32 on purpose would go backward in half precision.
    with torch.autocast(module.device.type, enabled=False):
        backward(loss)


def _detached(figures: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in figures.items()}


def _generator_states(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_generator_states(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
