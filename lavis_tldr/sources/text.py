"""Captions and keys as they come from the web, made safe to store."""

from __future__ import annotations


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
    r"""Key as valid Unicode; bytes that are not UTF-8 are spelled out (``\udc80``), so keys stay distinct."""
    return key.replace("\x00", "\\x00").encode("utf-8", errors="backslashreplace").decode("utf-8")
