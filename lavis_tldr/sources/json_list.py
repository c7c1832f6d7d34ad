"""The values of a JSON list, one at a time: neither the file nor the list is ever held whole."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import TextIO

CHUNK_CHARACTERS = 2**22
MAX_VALUE_CHARACTERS = 2**25

_skip_whitespace = re.compile(r"[ \t\r\n]*").match


class NoJsonListError(ValueError):
    """The file holds something else than a list.

    Args:
        first: The character that it begins with; empty if it holds nothing.
    """

    def __init__(self, first: str) -> None:
        super().__init__(f"it begins with {first!r}")
        self.first = first


class BrokenJsonError(ValueError):
    """The list breaks off, or is no JSON; its text is that of ``json.load``'s error.

    Args:
        reason: What is wrong.
        position: Where, in characters from the file's begin.
        line: The line of it, from 1.
        column: The place in the line, from 1.
    """

    def __init__(self, reason: str, position: int, line: int, column: int) -> None:
        super().__init__(f"{reason}: line {line} column {column} (char {position})")
        self.reason, self.position = reason, position


class NoUtf8Error(ValueError):
    """The file is no UTF-8."""


def iter_json_list(path: str | os.PathLike) -> Iterator[tuple[object, str]]:
    """The values of a file's JSON list, each with its text as it stands in the file.

    Raises:
        OSError: If the file can't be read.
        NoJsonListError: If it begins otherwise than a list.
        BrokenJsonError: At what is no JSON, when it is come to: the values before it were given.
        NoUtf8Error: At what is no UTF-8, likewise.
    """
    with open(path, encoding="utf-8") as file:
        window = _Window(file)
        if (first := window.next_character()) != "[":
            raise NoJsonListError(first)
        window.skip()
        more = window.next_character() != "]"
        while more:
            yield window.next_value()
            found = window.next_character()
            if found not in (",", "]"):
                raise window.broken("Expecting ',' delimiter")
            if more := found == ",":
                window.skip()
        window.skip()
        if window.next_character():
            raise window.broken("Extra data")


class _Window:
    """A moving view of a text file, a chunk at a time."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._start = 0  # of what is not yet consumed, in _text
        self._dropped = 0  # characters before _text
        self._lines = 0  # line ends before _text
        self._line_start = 0  # where the line begins that _text begins in, from the file's begin
        self._decode = json.JSONDecoder().raw_decode

    def skip(self) -> None:
        self._start += 1

    def next_character(self) -> str:
        """The next character that is no whitespace, not consumed; empty at the end."""
        while True:
            self._start = _skip_whitespace(self._text, self._start).end()
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
            except json.JSONDecodeError as error:
                # The chunk may end within the value.
                if not self._read_on():
                    raise self.broken(error.msg, error.pos) from None
                continue
            # A number looks whole wherever it is cut off: only what follows a value shows that it ends there.
            follows = _skip_whitespace(self._text, end).end()
            if self._text[follows : follows + 1] in (",", "]") or not self._read_on():
                text = self._text[self._start : end]
                self._start = end
                return value, text

    def broken(self, reason: str, at: int | None = None) -> BrokenJsonError:
        """The error for a place in the text, by default the one come to."""
        at = self._start if at is None else at
        newline = self._text.rfind("\n", 0, at)
        line_start = self._line_start if newline < 0 else self._dropped + newline + 1
        position = self._dropped + at
        line = self._lines + self._text.count("\n", 0, at) + 1
        return BrokenJsonError(reason, position, line, position - line_start + 1)

    def _read_on(self) -> bool:
        # A value that never ends must not be read to the file's end.
        if len(self._text) - self._start > MAX_VALUE_CHARACTERS:
            return False
        try:
            more = self._file.read(CHUNK_CHARACTERS)
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            position = self._file.buffer.tell() - len(error.object) + error.start  # error.start is from the chunk's
            raise NoUtf8Error(
                f"'utf-8' codec can't decode byte 0x{byte:02x} in position {position}: {error.reason}"
            ) from error
        if not more:
            return False
        newline = self._text.rfind("\n", 0, self._start)
        if newline >= 0:
            self._lines += self._text.count("\n", 0, self._start)
            self._line_start = self._dropped + newline + 1
        self._dropped += self._start
        self._text, self._start = self._text[self._start :] + more, 0
        return True
