"""A decoder whose next-token distribution is a table, to check searches against all sequences."""

from types import SimpleNamespace

import torch

from lavis_tldr.models.generation import OutputTokens

PAD, BOS, EOS = 0, 1, 2


class TableDecoder:
    """Scores depend on the image, the position and the last token; ``memory`` (N, 1, 1) holds the image's number."""

    def __init__(self, num_images: int, vocab_size: int, max_length: int, seed: int, scale: float = 2.0):
        generator = torch.Generator().manual_seed(seed)
        self.table = scale * torch.randn(num_images, max_length, vocab_size, vocab_size, generator=generator)
        self.word_embeddings = SimpleNamespace(num_embeddings=vocab_size)

    def memory_key_values(self, memory):
        return memory[:, 0, 0].long()

    def step(self, tokens, start, past, memory_kv):
        images = memory_kv.repeat_interleave(len(tokens) // len(memory_kv))
        key = tokens[:, None, :, None].float()  # the tokens themselves, as a cache of one head
        grown = [(key, key)] if past is None else [tuple(torch.cat([old, key], 2) for old in past[0])]
        last = grown[0][0][:, 0, -1, 0].long()
        return self.table[images, start, last][:, None], grown  # (N, 1, V)

    def logits(self, hidden, rows=None):
        return hidden if rows is None else hidden[..., rows]


def output_of(decoder, rows=None) -> OutputTokens:
    """All tokens of a decoder, or some."""
    return OutputTokens(rows, decoder.word_embeddings.num_embeddings, BOS, EOS, PAD)


def memory_of(*images: int) -> torch.Tensor:
    return torch.tensor(images, dtype=torch.float).view(-1, 1, 1)
