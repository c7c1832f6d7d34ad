"""What reports show: numbers as people read them, and text laid out for a terminal.

What a source wrote is shown, never obeyed.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

LABEL_WIDTH = 11
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
_JOINERS = "\u200c\u200d"  # parts of emoji and of Indic and Persian words
_LONGEST = 600


def count(number: int) -> str:
    """``1234567`` as ``1,234,567``."""
    return f"{number:,}"


def size(num_bytes: int) -> str:
    """Bytes in decimal units, three digits: ``872675`` as ``873 kB``."""
    value, unit = float(num_bytes), 0
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_SIZES[unit]}" if unit == 0 or value >= 99.95 else f"{value:.3g} {_SIZES[unit]}"


def duration(seconds: float) -> str:
    """``0.021`` as ``21 ms``, ``35.97`` as ``36.0 s``, ``723`` as ``12 min 3 s``, ``18720`` as ``5 h 12 min``."""
    if seconds < 59.95:
        return f"{seconds * 1000:.0f} ms" if seconds < 0.0995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(whole / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(whole / 3600)
    return f"{hours // 24} d {hours % 24} h"


def rate(per_second: float) -> str:
    """``200.2`` as ``200/s``, ``2.34`` as ``2.3/s``, ``0.05`` as ``3/min``: in the unit that gives at least one."""
    for factor, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if per_second * factor >= 1 or unit == "h":
            value = per_second * factor
            return f"{value:,.0f}/{unit}" if value >= 9.95 or value == round(value) else f"{value:.1f}/{unit}"
    raise AssertionError("the last unit takes every rate")


def share(part: float) -> str:
    """``0.2486`` as ``24.9%``."""
    return f"{part:.1%}"


def number(value: float) -> str:
    """A score or distance, four digits."""
    return f"{value:.4g}"


def ordinal(place: int) -> str:
    """``1`` as ``1st``, ``12`` as ``12th``, ``1002`` as ``1,002nd``."""
    suffix = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place:,}{suffix}"


def place(rank: int, superlative: str) -> str:
    """``1`` and "best" as "best", ``2`` as "2nd best"."""
    return superlative if rank == 1 else f"{ordinal(rank)} {superlative}"


def printable(text: str, longest: int = _LONGEST) -> str:
    """``text`` in one line, with control characters and marks that turn the reading direction written as escapes.

    Text beyond ``longest`` characters is cut, and says of how many.
    """
    shown = "".join(c if c.isprintable() or c in _JOINERS else _escape(c) for c in text[:longest])
    return shown if len(text) <= longest else f"{shown}... ({len(text):,} characters)"


def quoted(text: str) -> str:
    """``text`` in quotes; an empty one as "(empty)"."""
    return f'"{printable(text)}"' if text else "(empty)"


def label(name: str, indent: int = 2) -> str:
    """What stands before a text: its name, filled up so that all texts begin in one column."""
    return f"{'':{indent}}{name:{LABEL_WIDTH - indent}} "


def entry(name: str, text: str, indent: int = 2) -> list[str]:
    """Lines of a name and its text, wrapped to the terminal."""
    return wrapped(label(name, indent), text)


def wrapped(first: str, text: str) -> list[str]:
    """Lines of a text that begins after ``first``, and goes on below its own beginning, wrapped to the terminal."""
    width = max(50, min(shutil.get_terminal_size((100, 24)).columns, 120))
    # A path or key longer than the line stays whole, so that it can be copied.
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def setting(value: object) -> str:
    """A value of a config or manifest in one line; long lists are cut."""
    if isinstance(value, dict):
        return "{" + settings(value) + "}"
    if isinstance(value, list):
        shown = [setting(item) for item in value[:4]]
        more = [f"... {len(value):,} in all"] if len(value) > 4 else []
        return "[" + ", ".join(shown + more) + "]"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    # Text that would be lost among the commas is quoted.
    text = printable(str(value))
    return f'"{text}"' if isinstance(value, str) and (not text or text != text.strip() or "," in text) else text


def settings(values: dict) -> str:
    """``name value, name value`` of a config."""
    return ", ".join(f"{name} {setting(value)}" for name, value in values.items())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column begins at the left, all others end at the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for first, *cells in (header, *rows):
        lines.append("  ".join(["", first.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]).rstrip())
    return lines


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
