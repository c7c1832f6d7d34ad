"""Captions and keys as they come from the web, made safe to store."""

from __future__ import annotations

import re

# Of ASCII and beyond: all that a reader of lines takes for an end of line.
_CONTROLS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")


def clean_caption(text: bytes | str) -> str:
    """Caption as valid Unicode: invalid UTF-8 becomes U+FFFD, byte-order marks and NULs go, ends stripped.

    Args:
        text: UTF-8 bytes, or a string (which JSON may have given unpaired surrogates).
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    # Unpaired surrogates are legal in a JSON file but can be written to neither UTF-8 nor Parquet.
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    return text.replace("\x00", "").replace("\ufeff", "").strip()


def clean_key(key: str) -> str:
    r"""Key as valid Unicode in one line, for lists with a key a line.

    Control characters and bytes that are not UTF-8 are spelled out (``\n``, ``\udc80``), so keys stay distinct.
    """
    key = _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), key)
    return key.encode("utf-8", errors="backslashreplace").decode("utf-8")
