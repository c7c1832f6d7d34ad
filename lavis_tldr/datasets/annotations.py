"""A reduced set's annotation file in memory: 8M records without 8M dictionaries."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

CAPTION_FIELDS = ("caption", "caption_original", "caption_generated")
WHITESPACE = " \t\r\n"


class Annotations(Sequence):
    """Read-only sequence of the records of a JSON list; record i is parsed when asked for.

    The records stay as the file's own text in one block of bytes, which forked loader workers share: a list
    of dictionaries would take several times the memory, and each worker would copy it by reference counts.

    Args:
        path: Annotation file, ``[{"image", "caption", ...}, ...]``.
        caption: The field that every record must have as non-empty text.

    Raises:
        ValueError: If the file is absent, no JSON list of records, empty, or lacks the captions.
    """

    def __init__(self, path: Path, caption: str = "caption"):
        self.path = path
        blocks, ends, without_caption = [], [], 0
        end = 0
        for record, text in _records(path):
            if not isinstance(record, dict) or not isinstance(record.get("image"), str):
                raise ValueError(
                    f"Record {len(ends)} of {path} is {text[:80]}; expected an object with an image path."
                )
            if not str(record.get(caption) or "").strip():
                without_caption += 1
            block = text.encode()
            blocks.append(block)
            end += len(block)
            ends.append(end)
        if not ends:
            raise ValueError(
                f"{path} holds no records. Build the reduced set again, with a larger keep_ratio."
            )
        if without_caption:
            others = ", ".join(name for name in CAPTION_FIELDS if name != caption)
            raise ValueError(
                f"{without_caption} of {len(ends)} records in {path} have no {caption!r}. "
                f"Choose another field (caption: {others}), or refine the set again."
            )
        self._text = b"".join(blocks)
        self._ends = np.array(ends, dtype=np.int64)  # (N,)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> dict:
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        index %= len(self)
        start = self._ends[index - 1] if index else 0
        return json.loads(self._text[start : self._ends[index]])


def _records(path: Path) -> Iterator[tuple[object, str]]:
    """The items of the file's JSON list with their text, one at a time."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(
            f"{path} does not exist. Name the folder or annotations.json that `lavis-tldr reduce` has built."
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: {error}. Expected a JSON list of records.") from error
    decode = json.JSONDecoder().raw_decode
    position = _skip(text, 0)
    if text[position : position + 1] != "[":
        raise ValueError(f"{path} begins with {text[position : position + 20]!r}; expected a JSON list.")
    position = _skip(text, position + 1)
    while text[position : position + 1] != "]":
        try:
            record, end = decode(text, position)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is broken JSON ({error}). Build the reduced set again.") from error
        yield record, text[position:end]
        position = _skip(text, end)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
        elif text[position : position + 1] != "]":
            raise ValueError(
                f"{path} is broken JSON: the list does not go on or end at character {position}. "
                "Was the file cut off? Build the reduced set again."
            )


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in WHITESPACE:
        position += 1
    return position
