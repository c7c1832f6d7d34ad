"""A reduced set's annotation file in memory: 8M records without 8M dictionaries."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from lavis_tldr.sources.exports.pairs import CAPTIONS

WHITESPACE = " \t\r\n"
CHUNK_CHARACTERS = 2**22
MAX_RECORD_CHARACTERS = 2**25


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
        self._text = bytearray()
        ends, without_caption = array("q"), 0
        for record, text in _records(path):
            if not isinstance(record, dict) or not isinstance(record.get("image"), str):
                raise ValueError(f"Record {len(ends)} of {path} is {text[:80]}; expected an object with an image path.")
            if not str(record.get(caption) or "").strip():
                without_caption += 1
            self._text += text.encode()
            ends.append(len(self._text))
        if not ends:
            raise ValueError(f"{path} holds no records. Build the reduced set again, with a larger keep_ratio.")
        if without_caption:
            others = ", ".join(name for name in CAPTIONS if name != caption)
            raise ValueError(
                f"{without_caption} of {len(ends)} records in {path} have no {caption!r}. "
                f"Choose another field (caption: {others}), or refine the set again."
            )
        self._ends = np.frombuffer(ends, dtype=np.int64)  # (N,)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> dict:
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        index %= len(self)
        start = self._ends[index - 1] if index else 0
        return json.loads(self._text[start : self._ends[index]])


def _records(path: Path) -> Iterator[tuple[object, str]]:
    """The items of the file's JSON list with their text, one at a time and without holding the file."""
    try:
        with open(path, encoding="utf-8") as file:
            yield from _items(_Window(file), path)
    except FileNotFoundError:
        raise ValueError(
            f"{path} does not exist. Name the folder or annotations.json that `lavis-tldr reduce` has built."
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: {error}. Expected a JSON list of records.") from error


def _items(window: _Window, path: Path) -> Iterator[tuple[object, str]]:
    if window.next_character() != "[":
        raise ValueError(f"{path} begins with {window.next_character()!r}; expected a JSON list, '['.")
    window.skip()
    while window.next_character() != "]":
        try:
            yield window.next_value()
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path} is broken JSON near character {window.position} ({error.msg}). "
                "Was the file cut off? Build the reduced set again."
            ) from error
        if window.next_character() == ",":
            window.skip()
        elif window.next_character() != "]":
            raise ValueError(
                f"{path} is broken JSON: its list neither goes on nor ends at character {window.position}. "
                "Was the file cut off? Build the reduced set again."
            )


class _Window:
    """A moving view of a text file, a chunk at a time."""

    def __init__(self, file: TextIO):
        self._file = file
        self._text = ""
        self._start = 0  # of what is not yet consumed, in _text
        self._dropped = 0  # characters before _text
        self._decode = json.JSONDecoder().raw_decode

    @property
    def position(self) -> int:
        """Characters consumed so far."""
        return self._dropped + self._start

    def skip(self) -> None:
        self._start += 1

    def next_character(self) -> str:
        """The next character that is no whitespace, not consumed; empty at the end."""
        while True:
            while self._start < len(self._text) and self._text[self._start] in WHITESPACE:
                self._start += 1
            if self._start < len(self._text):
                return self._text[self._start]
            if not self._read_on():
                return ""

    def next_value(self) -> tuple[object, str]:
        """The next JSON value and its text."""
        self.next_character()
        while True:
            try:
                value, end = self._decode(self._text, self._start)
                text = self._text[self._start : end]
                self._start = end
                return value, text
            except json.JSONDecodeError:
                # The chunk may end within the value. One that never ends must not be read to the file's end.
                if len(self._text) - self._start > MAX_RECORD_CHARACTERS or not self._read_on():
                    raise

    def _read_on(self) -> bool:
        more = self._file.read(CHUNK_CHARACTERS)
        self._dropped += self._start
        self._text, self._start = self._text[self._start :] + more, 0
        return bool(more)
