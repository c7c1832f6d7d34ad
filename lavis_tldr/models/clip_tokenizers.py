"""Texts to token ids as CLIP models take them: padded, and ended by the end token even where they are cut."""

from collections.abc import Sequence

from lavis.models.clip_models.tokenizer import tokenize
from torch import Tensor

from lavis_tldr.models.tokenizer import CaptionTokenizer

# Two tokens that LAVIS's tokenizer gives of no text at all.
START, END = tokenize("", context_length=2)[0].tolist()


class BPETokenizer:
    """CLIP's own byte pairs, by LAVIS.

    LAVIS's tokenizer leaves a cut text without an end token. The model takes its feature where the highest id stands,
    which the end token has; without one that is the start, which sees no text, and all long texts have one feature.

    Args:
        max_length: Positions of the text tower; all texts are padded to it.
    """

    def __init__(self, max_length: int):
        self.max_length = max_length

    def __call__(self, texts: str | Sequence[str]) -> Tensor:
        """(N, max_length), int64, padded with 0."""
        ids = tokenize([texts] if isinstance(texts, str) else list(texts), context_length=self.max_length)
        is_cut = (ids != END).all(1)
        ids[is_cut, -1] = END
        return ids


class WordPieceTokenizer:
    """A BERT's word pieces.

    Args:
        tokenizer: Its vocabulary.
        max_length: Longest text in tokens, [CLS] and [SEP] included.
    """

    def __init__(self, tokenizer: CaptionTokenizer, max_length: int):
        self.tokenizer = tokenizer
        self.max_length = max_length

    def __call__(self, texts: str | Sequence[str]) -> Tensor:
        """(N, T), int64, padded to the longest with [PAD]."""
        ids, _ = self.tokenizer.encode_padded([texts] if isinstance(texts, str) else list(texts), self.max_length)
        return ids
