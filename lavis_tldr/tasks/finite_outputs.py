"""A model's scores are numbers, or its evaluation ends: NaN would be the largest of all, and chosen without a word."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# The module whose output decides, of BLIP's and ViLT's models for VQA and NLVR2.
_DECIDING = ("text_decoder", "cls_head", "classifier")


@contextmanager
def finite_outputs(model: nn.Module) -> Iterator[None]:
    """While the block runs, an output of the model's head that is not finite ends it.

    Raises:
        ValueError: If one is not.
    """
    heads = [head for head in (getattr(model, name, None) for name in _DECIDING) if isinstance(head, nn.Module)]
    handles = [head.register_forward_hook(_check) for head in heads]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _check(module: nn.Module, inputs, output) -> None:
    if not torch.isfinite(_scores(output)).all():
        raise ValueError(
            "the model's scores are not finite (NaN or infinity), so no answer is the best. Did its training diverge? "
            "Take an earlier checkpoint, or leave out run.bf16_eval."
        )


def _scores(output) -> Tensor:
    """Of a classifier its logits; of a decoder each text's loss, or the logits that its next words are chosen by."""
    if isinstance(output, Tensor):
        return output
    return output.loss if output.loss is not None else output.logits[:, -1]
