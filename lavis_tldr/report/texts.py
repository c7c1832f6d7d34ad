"""Text laid out for a terminal; what a source wrote is shown, never obeyed."""

from __future__ import annotations

import shutil
import textwrap

LABEL_WIDTH = 11
_JOINERS = "\u200c\u200d"  # parts of emoji and of Indic and Persian words
_LONGEST = 600


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
    width = max(50, min(shutil.get_terminal_size((100, 24)).columns, 120))
    first = label(name, indent)
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


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
