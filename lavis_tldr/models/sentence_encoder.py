"""Sentence embeddings of a BERT encoder such as all-MiniLM-L6-v2 (mean of its last hidden states, L2-normalized)."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lavis_tldr.models.bert_weights import bert_folder, load_bert, read_bert
from lavis_tldr.models.text_decoder import TextDecoder
from lavis_tldr.models.tokenizer import CaptionTokenizer, read_vocabulary
from lavis_tldr.models.weights_digest import weights_digest

_MAX_LENGTH = 64
_EMBEDDINGS = tuple(
    f"embeddings.{name}"
    for name in (
        "word_embeddings.weight",
        "position_embeddings.weight",
        "token_type_embeddings.weight",
        "LayerNorm.weight",
        "LayerNorm.bias",
    )
)
_MOST_REMEMBERED = 500_000  # captions: 0.8 GB at a width of 384


class TextFeatures:
    """Sentence embeddings, each caption's computed once.

    Args:
        embed: Embeds captions, as `SentenceEncoder` does.
    """

    def __init__(self, embed: Callable[[Sequence[str]], Tensor]):
        self._embed = embed
        self._known: dict[str, Tensor] = {}

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._known)

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """(T, W), in order."""
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._known]
        found = dict(zip(new, self._embed(new), strict=True)) if new else {}
        embedded = [found[caption] if caption in found else self._known[caption] for caption in captions]
        for caption, embedding in found.items():
            if len(self._known) < _MOST_REMEMBERED:
                self._known[caption] = embedding.clone()  # not a view, which would keep the whole batch
        return torch.stack(embedded) if embedded else self._embed([])


# By the digest of the encoder, where embeddings are remembered.
_remembered: ContextVar[dict[str, TextFeatures] | None] = ContextVar("remembered embeddings", default=None)


@contextmanager
def remembering_embeddings() -> Iterator[None]:
    """Inside, every caption is embedded once, whichever `SentenceEncoder` of the same weights is asked.

    For many runs over the same captions. What is remembered comes of another batch, and may differ in the last digits
    from what a run alone would compute.
    """
    token = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(token)


class SentenceEncoder(nn.Module):
    """Embeds captions; W is the BERT's width.

    Args:
        weights: A BERT in Hugging Face layout, folder or hub name.

    Raises:
        ValueError: If it can't be found or read.
    """

    def __init__(self, weights: str):
        super().__init__()
        folder = bert_folder(weights)
        try:
            config, state = read_bert(folder)
        except (OSError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{folder} is no BERT in Hugging Face layout ({error}); expected config.json, vocab.txt and "
                "model.safetensors in it."
            ) from error
        self.tokenizer = CaptionTokenizer(read_vocabulary(Path(folder) / "vocab.txt"))
        self.bert = TextDecoder(
            config["vocab_size"],
            config["hidden_size"],
            config["num_hidden_layers"],
            config["num_attention_heads"],
            config["intermediate_size"],
            config["hidden_size"],
            max_positions=config["max_position_embeddings"],
            eps=config.get("layer_norm_eps", 1e-12),
        )
        absent = [name for name in _EMBEDDINGS if name not in state]
        if absent:
            raise ValueError(f"{folder} has no {absent[0]}; expected the weights of a BERT encoder.")
        load_bert(self.bert, state, str(folder))
        # What a sentence encoder's file does not hold would be random, and differ from run to run in the digest.
        self.bert.drop_decoding()
        self._num_heads = config["num_attention_heads"]
        self.eval().requires_grad_(False)

    @cached_property
    def digest(self) -> str:
        """Digest of the weights and the vocabulary, 32 hexadecimal digits, wherever they came from."""
        return weights_digest(self, {"vocabulary": self.tokenizer.vocabulary, "heads": self._num_heads})

    def forward(self, captions: Sequence[str], batch_size: int = 256) -> Tensor:
        """Embeddings, (N, W), float32, in the order of the captions."""
        remembered = _remembered.get()
        if remembered is None:
            return self._embed(captions, batch_size)
        return remembered.setdefault(self.digest, TextFeatures(partial(self._embed, batch_size=batch_size)))(captions)

    @torch.no_grad()
    def _embed(self, captions: Sequence[str], batch_size: int) -> Tensor:
        device = self.bert.segment_embedding.device
        rows = self.tokenizer.encode(captions, _MAX_LENGTH)
        by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # little padding in a batch
        found = torch.empty(len(rows), self.bert.segment_embedding.shape[0])
        for start in range(0, len(rows), batch_size):
            chosen = by_length[start : start + batch_size]
            ids = torch.full((len(chosen), len(rows[chosen[-1]])), self.tokenizer.pad)
            for i, row in enumerate(chosen):
                ids[i, : len(rows[row])] = torch.tensor(rows[row])
            ids = ids.to(device)
            found[chosen] = self.bert.embed_text(ids, ids != self.tokenizer.pad).float().cpu()
        return found
