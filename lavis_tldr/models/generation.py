"""Greedy and beam-search decoding, independent of the transformers version.

Shapes: N captions, b beams, T tokens, V vocabulary. A decoder is anything with `memory_key_values`, `step` and
`logits` as `text_decoder.TextDecoder` has them.
"""

from collections.abc import Sequence
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


class OutputTokens:
    """The tokens that captions may use, numbered without gaps: decoding looks at nothing else.

    Args:
        rows: Their ids, sorted, (R,); None for all of the vocabulary.
        vocab_size: V.
        bos, eos, pad: Ids of the start, end and padding tokens.

    Attributes:
        eos: Number of the end token, or None where captions may not use it.
        eos_id: Its id.
    """

    def __init__(self, rows: Tensor | None, vocab_size: int, bos: int, eos: int, pad: int):
        self.rows, self._size = rows, vocab_size if rows is None else len(rows)
        self._ids = None if rows is None else rows.tolist()
        self.eos, self.eos_id = self._number(eos), eos
        self._start, self._start_id = self._number(bos), bos
        self._never = [number for number in (self._start, self._number(pad)) if number is not None]

    def __len__(self) -> int:
        """R, or V where all may be used."""
        return self._size

    def _number(self, token: int) -> int | None:
        """The number of a token, or None where captions may not use it."""
        if self._ids is None:
            return token
        return self._ids.index(token) if token in self._ids else None

    def start(self, count: int, device: torch.device) -> Tensor:
        """The start token's number, (count, 1); -1 where captions may not use it."""
        return torch.full((count, 1), -1 if self._start is None else self._start, device=device)

    def ids(self, numbers: Tensor) -> Tensor:
        """Ids of tokens by their numbers, any shape."""
        found = numbers if self.rows is None else self.rows[numbers.clamp(min=0)]
        return found.masked_fill(numbers < 0, self._start_id)

    def ids_of(self, numbers: Sequence[int]) -> list[int]:
        """`ids` of numbers that are no tensor, none of them the start token's."""
        return list(numbers) if self._ids is None else [self._ids[number] for number in numbers]

    def rule_out(self, log_p: Tensor, numbers: Tensor, options: DecodingOptions) -> None:
        """Rule out, in place, what may not come next.

        Args:
            log_p: Log-probabilities of the next token, (N, R).
            numbers: The tokens so far, the start token first, (N, T).
            options: Least length and n-grams.
        """
        log_p[:, self._never] = float("-inf")
        if numbers.shape[1] <= options.min_length and self.eos is not None:
            log_p[:, self.eos] = float("-inf")
        _ban_repeated_ngrams(log_p, numbers, options.no_repeat_ngram)


@torch.no_grad()
def generate(
    decoder,
    memory: Memory,
    output: OutputTokens,
    options: DecodingOptions,
) -> list[list[int]]:
    """Decode one caption an image.

    Args:
        decoder: See the module's docstring.
        memory: Image features, (N, L, D), as the decoder takes them.
        output: The tokens that captions may use.
        options: Greedy where ``options.num_beams`` is 1.

    Returns:
        Token ids of each caption without start, end and padding.
    """
    b = options.num_beams
    n, device = len(memory), memory.device
    memory_kv = decoder.memory_key_values(memory)
    tokens = output.start(n * b, device)  # numbers of output tokens, (N b, T)
    scores = torch.full((n, b), float("-inf"), device=device)
    scores[:, 0] = 0.0  # all beams start alike: only the first may branch
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(n)]
    past = None

    for length in range(1, options.max_length + 1):
        hidden, past = decoder.step(output.ids(tokens[:, -1:]), length - 1, past, memory_kv)
        log_p = decoder.logits(hidden[:, -1], output.rows).float().log_softmax(-1)  # (N b, R)
        output.rule_out(log_p, tokens, options)
        total = (scores.view(-1, 1) + log_p).view(n, b * len(output))
        # 2b candidates hold at least b that go on, even if every beam could end here.
        top, index = total.topk(2 * b, dim=1)  # (N, 2b), best first
        beam, token = index // len(output), index % len(output)

        ends = (token == output.eos) if output.eos is not None else torch.zeros_like(token, dtype=torch.bool)
        ends |= length == options.max_length
        in_front = torch.arange(2 * b, device=device) < b  # an end counts only among the best b, as in greedy
        # One copy a step, of what the finished captions are: a GPU is waited for once. In float64 all of it is exact.
        found = torch.stack([(ends & in_front & top.isfinite()).double(), top.double(), beam.double(), token.double()])
        found = found.cpu()
        _collect(finished, found, tokens, output, b, length**options.length_penalty)
        if all(len(f) >= b for f in finished) or length == options.max_length:
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


def _collect(
    finished: list[list[tuple[float, list[int]]]],
    candidates: Tensor,
    tokens: Tensor,
    output: OutputTokens,
    num_beams: int,
    length_factor: float,
) -> None:
    """Add the captions that end with this step.

    Args:
        finished: Score and token ids of each image's captions so far; images with b of them take no more.
        candidates: Of each candidate whether it ends, its score, beam and token, (4, N, 2b), on the CPU.
        tokens: Numbers of the tokens before, the start token first, (N b, T).
        output: The tokens that captions may use.
        num_beams: b.
        length_factor: Scores are divided by it.
    """
    is_open = torch.tensor([len(f) < num_beams for f in finished])
    ending = (candidates[0].bool() & is_open[:, None]).nonzero().tolist()
    if not ending:
        return
    said = tokens[:, 1:].tolist()
    for i, j in ending:
        _, score, beam, token = candidates[:, i, j].tolist()
        numbers = said[i * num_beams + int(beam)]
        if token != output.eos:
            numbers = [*numbers, int(token)]
        finished[i].append((score / length_factor, output.ids_of(numbers)))


def _ban_repeated_ngrams(log_p: Tensor, tokens: Tensor, size: int) -> None:
    """Rule out, in place, each token that would repeat an n-gram; ``log_p`` (N, V), ``tokens`` (N, T)."""
    if size <= 0 or tokens.shape[1] < size:
        return
    windows = tokens.unfold(1, size, 1)  # (N, T - size + 1, size)
    suffix = tokens[:, None, tokens.shape[1] - (size - 1) :]
    repeats = (windows[..., :-1] == suffix).all(-1)  # (N, T - size + 1); of single tokens all
    # Added, not put at the places found: to know how many there are, a GPU would be waited for.
    log_p.scatter_add_(
        1,
        windows[..., -1] % log_p.shape[1],
        torch.zeros_like(repeats, dtype=log_p.dtype).masked_fill_(repeats, float("-inf")),
    )
