"""Greedy and beam-search decoding, independent of the transformers version.

Shapes: N captions, b beams, T tokens, V vocabulary. A decoder is anything with `memory_key_values`, `step`,
`logits` and `word_embeddings` as `text_decoder.TextDecoder` has them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lavis_tldr.models.text_decoder import Memory


@dataclass(frozen=True)
class DecodingOptions:
    """How captions are decoded.

    Attributes:
        num_beams: 1 is greedy.
        max_length: Most tokens of a caption, [SEP] included.
        min_length: Fewest tokens before [SEP] may come.
        length_penalty: A finished beam's log-probability is divided by its length to this power.
        no_repeat_ngram: No n-gram of this size comes twice in a caption; 0 allows all.
    """

    num_beams: int = 1
    max_length: int = 30
    min_length: int = 3
    length_penalty: float = 1.0
    no_repeat_ngram: int = 3

    def __post_init__(self):
        if self.num_beams < 1 or self.max_length < 1 or not 0 <= self.min_length < self.max_length:
            raise ValueError(
                f"num_beams {self.num_beams}, min_length {self.min_length}, max_length {self.max_length}: expected "
                "num_beams >= 1 and 0 <= min_length < max_length."
            )


@torch.no_grad()
def generate(
    decoder,
    memory: Memory,
    bos: int,
    eos: int,
    pad: int,
    options: DecodingOptions,
    rows: Tensor | None = None,
) -> list[list[int]]:
    """Decode one caption an image.

    Args:
        decoder: See the module's docstring.
        memory: Image features, (N, L, D), as the decoder takes them.
        bos, eos, pad: Ids of the start, end and padding tokens.
        options: Greedy where ``options.num_beams`` is 1.
        rows: Ids of the tokens that captions may use, sorted, (R,); None allows all.

    Returns:
        Token ids of each caption without start, end and padding.
    """
    b = options.num_beams
    n, device = len(memory), memory.device
    memory_kv = decoder.memory_key_values(memory)
    tokens = torch.full((n * b, 1), bos, device=device)  # (N b, T)
    scores = torch.full((n, b), float("-inf"), device=device)
    scores[:, 0] = 0.0  # all beams start alike: only the first may branch
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(n)]
    closed = torch.zeros(n, dtype=torch.bool, device=device)
    past, vocab_size = None, decoder.word_embeddings.num_embeddings

    for length in range(1, options.max_length + 1):
        hidden, past = decoder.step(tokens[:, -1:], length - 1, past, memory_kv)
        log_p = decoder.logits(hidden[:, -1], rows).float().log_softmax(-1)  # (N b, V or R)
        log_p = rule_out(log_p, tokens, length, bos, eos, pad, options, rows, vocab_size)
        total = (scores.view(-1, 1) + log_p).view(n, b * vocab_size)
        # 2b candidates hold at least b that go on, even if every beam could end here.
        top, index = total.topk(2 * b, dim=1)  # (N, 2b), best first
        beam, token = index // vocab_size, index % vocab_size

        ends = (token == eos) | (length == options.max_length)
        in_front = torch.arange(2 * b, device=device) < b  # an end counts only among the best b, as in greedy
        for i, j in (ends & in_front & top.isfinite() & ~closed[:, None]).nonzero().tolist():
            ids = tokens[i * b + beam[i, j], 1:].tolist()
            if int(token[i, j]) != eos:
                ids.append(int(token[i, j]))
            finished[i].append((float(top[i, j]) / length**options.length_penalty, ids))
        closed |= torch.tensor([len(f) >= b for f in finished], device=device)
        if bool(closed.all()) or length == options.max_length:
            break

        # The b best that go on, in order of score.
        go_on = (~ends).long() * 2 * b - torch.arange(2 * b, device=device)
        keep = go_on.topk(b, dim=1).indices  # (N, b)
        scores = top.gather(1, keep)
        parents = (torch.arange(n, device=device)[:, None] * b + beam.gather(1, keep)).view(-1)
        tokens = torch.cat([tokens[parents], token.gather(1, keep).view(-1, 1)], 1)
        past = [(k[parents], v[parents]) for k, v in past]
    # `max` takes the first of equals: the one that finished earlier.
    return [max(f, key=lambda item: item[0])[1] if f else [] for f in finished]


def rule_out(
    log_p: Tensor,
    tokens: Tensor,
    length: int,
    bos: int,
    eos: int,
    pad: int,
    options: DecodingOptions,
    rows: Tensor | None,
    vocab_size: int,
) -> Tensor:
    """Log-probabilities of the next token without those that may not come next.

    Args:
        log_p: (N, V), or (N, R) over ``rows``.
        tokens: The tokens so far, [CLS] first, (N, T).
        length: Place of the next token, 1 for the first.
        bos, eos, pad, options, rows: As `generate` has them.
        vocab_size: V.

    Returns:
        (N, V); -inf for what is ruled out.
    """
    if rows is not None:
        log_p = _spread(log_p, rows, vocab_size)
    log_p[:, [bos, pad]] = float("-inf")
    if length <= options.min_length:
        log_p[:, eos] = float("-inf")
    _ban_repeated_ngrams(log_p, tokens, options.no_repeat_ngram)
    return log_p


def _spread(log_p: Tensor, rows: Tensor, vocab_size: int) -> Tensor:
    """Log-probabilities of some tokens, (N, R), laid out over the vocabulary, (N, V); the others are ruled out."""
    spread = log_p.new_full((log_p.shape[0], vocab_size), float("-inf"))
    spread[:, rows] = log_p
    return spread


def _ban_repeated_ngrams(log_p: Tensor, tokens: Tensor, size: int) -> None:
    """Rule out, in place, each token that would repeat an n-gram; ``log_p`` (N, V), ``tokens`` (N, T)."""
    if size <= 0 or tokens.shape[1] < size:
        return
    windows = tokens.unfold(1, size, 1)  # (N, T - size + 1, size)
    if size == 1:
        row, start = torch.ones(windows.shape[:2], dtype=torch.bool, device=tokens.device).nonzero(as_tuple=True)
    else:
        suffix = tokens[:, None, -(size - 1) :]
        row, start = (windows[..., :-1] == suffix).all(-1).nonzero(as_tuple=True)
    log_p[row, windows[row, start, -1]] = float("-inf")
