"""Texts as token ids, each text tokenized once: in an evaluation one is read with hundreds of images."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class TokenRows:
    """Token ids of texts, remembered.

    Args:
        encode: Gives each text's ids, from first to last token, cut to what the model takes.
        pad: Id of padding.
    """

    def __init__(self, encode: Callable[[list[str]], list[Tensor]], pad: int):
        self._encode, self._pad = encode, pad
        self._rows: dict[str, Tensor] = {}

    def __call__(self, texts: list[str], device: torch.device) -> tuple[Tensor, Tensor]:
        """Ids padded to the longest text, (P, T) int64, and where they are not padding, (P, T) bool."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._rows]:
            self._rows.update(zip(new, self._encode(new), strict=True))
        rows = [self._rows[text] for text in texts]
        ids = pad_sequence(rows, batch_first=True, padding_value=self._pad)
        lengths = torch.tensor([[len(row)] for row in rows])
        mask = torch.arange(ids.shape[1]) < lengths
        return ids.to(device), mask.to(device)
