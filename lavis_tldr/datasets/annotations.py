"""A reduced set's annotation file in memory: 8M records without 8M dictionaries."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lavis_tldr.datasets.caption_choice import CHOICES, CaptionChoice
from lavis_tldr.sources.json_list import BrokenJsonError, NoJsonListError, NoUtf8Error, iter_json_list


class Annotations(Sequence):
    """Read-only sequence of the records of a JSON list; record i is parsed when asked for.

    A record with ``"repeats": n`` is there n times, one after the other.

    The records stay as the file's own text in one block of bytes, which forked loader workers share: a list
    of dictionaries would take several times the memory, and each worker would copy it by reference counts.

    Args:
        path: Annotation file, ``[{"image", "caption", ...}, ...]``.
        captions: Every record must have a text that this can choose; all by default their refined one.

    Raises:
        ValueError: If the file is absent, no JSON list of records, empty, or lacks the captions.
    """

    def __init__(self, path: Path, captions: CaptionChoice | None = None):
        self.path = path
        captions = captions or CaptionChoice()
        self._text = bytearray()
        ends, repeats, without_caption, most_captions = array("q"), array("q"), 0, 0
        for record, text in _records(path):
            if not isinstance(record, dict) or not isinstance(record.get("image"), str):
                raise ValueError(f"Record {len(ends)} of {path} is {text[:80]}; expected an object with an image path.")
            repeats.append(_repeats(record, len(ends), path))
            num_captions = len(captions.among(record))
            without_caption += num_captions == 0
            most_captions = max(most_captions, num_captions)
            self._text += text.encode()
            ends.append(len(self._text))
        if not ends:
            raise ValueError(f"{path} holds no records. Build the reduced set again, with a larger keep_ratio.")
        others = ", ".join(name for name in CHOICES if name != captions.choice)
        if without_caption:
            raise ValueError(
                f"{without_caption} of {len(ends)} records in {path} have no {captions.choice} caption. "
                f"Choose another (caption: {others}), or refine the set again."
            )
        if captions.choice == "drawn" and most_captions < 2:
            raise ValueError(
                f"no record in {path} has both an original and a generated caption, so there are none to draw from. "
                f"Choose another caption ({others})."
            )
        self._ends = np.frombuffer(ends, dtype=np.int64)  # (N,)
        self._last = np.cumsum(np.frombuffer(repeats, dtype=np.int64))  # (N,): entries up to and with each record

    @property
    def num_records(self) -> int:
        """N, however often each is there."""
        return len(self._ends)

    def __len__(self) -> int:
        return int(self._last[-1])

    def __getitem__(self, index: int) -> dict:
        number, _ = self.place(index)
        start = self._ends[number - 1] if number else 0
        return json.loads(self._text[start : self._ends[number]])

    def place(self, index: int) -> tuple[int, int]:
        """Number of the record that entry ``index`` is a copy of, and which of its copies that is, both from 0."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        index %= len(self)
        number = int(np.searchsorted(self._last, index, side="right"))
        return number, index - int(self._last[number - 1] if number else 0)


def _repeats(record: dict, number: int, path: Path) -> int:
    found = record.get("repeats", 1)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ValueError(
            f"Record {number} of {path} has repeats {found!r}; expected how often it is trained on in an epoch, a "
            "whole number of at least 1. Build the reduced set again."
        )
    return found


def _records(path: Path) -> Iterator[tuple[object, str]]:
    """The items of the file's JSON list with their text, one at a time and without holding the file."""
    try:
        yield from iter_json_list(path)
    except FileNotFoundError:
        raise ValueError(
            f"{path} does not exist. Name the folder or annotations.json that `lavis-tldr reduce` has built."
        ) from None
    except NoUtf8Error as error:
        raise ValueError(f"{path} is no UTF-8 text: {error}. Expected a JSON list of records.") from error
    except NoJsonListError as error:
        raise ValueError(f"{path} begins with {error.first!r}; expected a JSON list, '['.") from error
    except BrokenJsonError as error:
        raise ValueError(
            f"{path} is broken JSON near character {error.position} ({error.reason}). "
            "Was the file cut off? Build the reduced set again."
        ) from error
