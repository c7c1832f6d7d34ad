"""Numbers as people read them."""

from __future__ import annotations

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")


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
