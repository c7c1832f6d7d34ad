"""Captions drawn from the model's own distribution, several of an image.

Shapes: N images, s captions an image, T tokens, V vocabulary, R tokens that captions may use.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lavis_tldr.models.generation import DecodingOptions, OutputTokens
from lavis_tldr.models.text_decoder import Memory

_MOST_TOKENS = 512  # that a draw is among: sorting a whole vocabulary costs more than the decoder


@dataclass(frozen=True)
class SamplingOptions:
    """How captions are drawn.

    Attributes:
        temperature: Above 0; below 1 likely tokens become likelier.
        top_p: In (0, 1]: tokens are drawn from the fewest that hold this probability together (nucleus sampling,
            arXiv:1904.09751), and from 512 at most.
    """

    temperature: float = 0.7
    top_p: float = 0.95


def uniforms_of(priorities: np.ndarray, num_captions: int, max_length: int) -> Tensor:
    """Numbers that decide the draws of N images, from each image's own, so that batches and ranks do not matter.

    Args:
        priorities: A number of each image (`lavis_tldr.reduction.draw.draw_priority`), (N,), uint64.
        num_captions: s.
        max_length: T.

    Returns:
        (N, s, T), float64, in [0, 1).
    """
    draws = [np.random.Generator(np.random.Philox(key=int(p))).random((num_captions, max_length)) for p in priorities]
    return torch.from_numpy(np.stack(draws) if draws else np.zeros((0, num_captions, max_length)))


@torch.no_grad()
def sample(
    decoder,
    memory: Memory,
    output: OutputTokens,
    options: DecodingOptions,
    sampling: SamplingOptions,
    uniforms: Tensor,
) -> list[list[list[int]]]:
    """Draw captions token by token.

    Args:
        decoder: As `generation.generate` takes it.
        memory: Image features, (N, L, D), as the decoder takes them.
        output: The tokens that captions may use.
        options: Lengths and n-grams; beams play no part.
        sampling: Temperature and nucleus.
        uniforms: Of `uniforms_of`, (N, s, at least the longest caption).

    Returns:
        Token ids of s captions of each image, without start, end and padding.
    """
    n, s, _ = uniforms.shape
    draws = uniforms.to(memory.device).flatten(0, 1)  # (N s, T)
    memory_kv = decoder.memory_key_values(memory)
    tokens = output.start(n * s, memory.device)  # numbers of output tokens, (N s, T)
    ended = torch.zeros(n * s, dtype=torch.bool, device=memory.device)
    ids: list[Tensor] = []
    past = None
    for length in range(1, options.max_length + 1):
        hidden, past = decoder.step(output.ids(tokens[:, -1:]), length - 1, past, memory_kv)
        scores = decoder.logits(hidden[:, -1], output.rows).float() / sampling.temperature  # (N s, R)
        output.rule_out(scores, tokens, options)
        token = _drawn(scores, draws[:, length - 1], sampling.top_p)
        tokens = torch.cat([tokens, token[:, None]], 1)
        if output.eos is not None:
            ended |= token == output.eos
        ids.append(output.ids(token).masked_fill(ended, output.eos_id))
        if bool(ended.all()):
            break
    found = [[i for i in row if i != output.eos_id] for row in torch.stack(ids, 1).tolist()]
    return [found[start : start + s] for start in range(0, n * s, s)]


def _drawn(scores: Tensor, draws: Tensor, top_p: float) -> Tensor:
    """The token whose share of the nucleus each number falls into, (M,); ``scores`` (M, R), ``draws`` (M,)."""
    likeliest, order = scores.topk(min(_MOST_TOKENS, scores.shape[-1]), dim=-1)  # best first
    p = (likeliest - scores.logsumexp(-1, keepdim=True)).double().exp()
    before = p.cumsum(-1) - p
    p = p.masked_fill(before >= top_p, 0.0)  # the likeliest is always left
    ends = p.cumsum(-1)
    place = (ends <= draws[:, None] * ends[:, -1:]).sum(-1, keepdim=True)
    last = (p > 0).sum(-1, keepdim=True) - 1
    return order.gather(-1, place.minimum(last))[:, 0]
