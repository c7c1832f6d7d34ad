"""WordPiece tokenizer; its vocabulary is a file, a BERT's, or trained from the source's own captions."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lavis_tldr.models.wordpiece_training import SPECIAL_TOKENS


def read_vocabulary(path: str | Path) -> list[str]:
    """Tokens of a BERT vocabulary file, one a line.

    Raises:
        ValueError: If the file is absent or lacks BERT's special tokens.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no vocabulary {path}; give a BERT vocab.txt, or leave it out to train one.")
    tokens = path.read_text(encoding="utf-8").split("\n")
    tokens = tokens[:-1] if tokens[-1] == "" else tokens
    missing = [token for token in SPECIAL_TOKENS if token not in tokens]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; expected a BERT vocabulary, one token a line.")
    if len(set(tokens)) < len(tokens):
        raise ValueError(f"{path} holds a token twice; expected a BERT vocabulary, one token a line, each once.")
    return tokens


class CaptionTokenizer:
    """Captions to token ids and back.

    Args:
        vocabulary: Tokens in the order of their ids.
    """

    def __init__(self, vocabulary: Sequence[str]):
        self.vocabulary = list(vocabulary)
        ids = {token: i for i, token in enumerate(self.vocabulary)}
        self._tokenizer = BertWordPieceTokenizer(vocab=ids, lowercase=True)
        self.pad, self.unk, self.bos, self.eos = ids["[PAD]"], ids["[UNK]"], ids["[CLS]"], ids["[SEP]"]

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, captions: Sequence[str], max_length: int) -> list[list[int]]:
        """Token ids from [CLS] to [SEP], cut to ``max_length``; a cut caption has no [SEP]."""
        return [encoding.ids[:max_length] for encoding in self._tokenizer.encode_batch(list(captions))]

    def encode_padded(self, captions: Sequence[str], max_length: int) -> tuple[Tensor, Tensor]:
        """Token ids from [CLS] to [SEP], padded to the longest caption; a cut one ends in [SEP], too.

        Returns:
            Ids, (N, T), int64, and where they are not padding, (N, T) bool.
        """
        rows = [torch.tensor(row) for row in self.encode(captions, max_length)]
        for row in rows:
            if len(row) == max_length:
                row[-1] = self.eos
        ids = pad_sequence(rows, batch_first=True, padding_value=self.pad)
        lengths = torch.tensor([[len(row)] for row in rows])
        return ids, torch.arange(ids.shape[1]) < lengths

    def decode(self, ids: Sequence[int]) -> str:
        """The caption of token ids, special tokens left out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True).strip()
