"""How many captions a model will cut."""

import sys
from collections.abc import Iterator, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from lavis_tldr.datasets.caption_choice import CHOICES, CaptionChoice
from lavis_tldr.datasets.caption_pairs import CaptionPairs
from lavis_tldr.models.tokenizer import CaptionTokenizer

_NUM_LOOKED_AT = 1000  # at least, of a set that has as many
_LEAST_SHARE = 0.01  # of captions, to be spoken of
_SHARE_TO_KEEP = 0.99


def captions_of(dataset, choice: str = "refined") -> Iterator[str]:
    """Evenly spread captions of a training set of LAVIS's annotations or of ours; none of another.

    Args:
        dataset: With ``annotation`` and ``text_processor``, or `CaptionPairs`.
        choice: Which caption of a record of a reduced set (`CaptionChoice`).
    """
    if isinstance(dataset, CaptionPairs):
        total = dataset.items.num_captions
        yield from dataset.captions(np.arange(0, total, max(total // _NUM_LOOKED_AT, 1)))
        return
    records = getattr(dataset, "annotation", None)
    if not isinstance(records, Sequence) or not hasattr(dataset, "text_processor"):
        return
    among = CaptionChoice(choice if choice in CHOICES else "refined").among
    for index in range(0, len(records), max(len(records) // _NUM_LOOKED_AT, 1)):
        record = records[index]
        if isinstance(record, dict) and isinstance(record.get("caption"), str):
            yield from (dataset.text_processor(caption) for caption in among(record))


def count_tokens(tokenizer, captions: list[str]) -> list[int]:
    """Tokens of each caption, [CLS] and [SEP] included; none of a tokenizer that is unknown here."""
    if isinstance(tokenizer, CaptionTokenizer):
        return [len(ids) for ids in tokenizer.encode(captions, sys.maxsize)]
    if isinstance(tokenizer, PreTrainedTokenizerBase):
        return [len(ids) for ids in tokenizer(captions, verbose=False).input_ids]
    return []


def cut_warning(lengths: list[int], longest: int, key: str) -> str | None:
    """Captions whose ends the model won't see.

    Args:
        lengths: Of sampled captions, in tokens.
        longest: That the model takes.
        key: The config key that says so.
    """
    num_cut = sum(length > longest for length in lengths)
    if not lengths or num_cut < _LEAST_SHARE * len(lengths):
        return None
    enough = sorted(lengths)[min(int(_SHARE_TO_KEEP * len(lengths)), len(lengths) - 1)]
    return (
        f"{num_cut / len(lengths):.0%} of {len(lengths)} captions looked at are longer than model.{key}, {longest} "
        f"tokens: their ends are cut off. Raise it (99% have at most {enough}), or train on shorter captions."
    )
