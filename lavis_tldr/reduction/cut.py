"""The k-th smallest of more values than fit in memory, in a few passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

_DIGIT_BITS = 16
_HIGH_BITS, _LOW_BITS = 32, 64


def ordered_bits(values: np.ndarray) -> np.ndarray:
    """Float32 values as uint32 that compare alike, (N,); the two zeros are one, and there is no NaN."""
    bits = (np.asarray(values, np.float32) + np.float32(0)).view(np.uint32)  # -0 + 0 is +0
    return np.where(bits >> 31, ~bits, bits | np.uint32(2**31))


def find_cut(blocks: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]], count: int) -> tuple[int, int]:
    """The ``count``-th smallest of pairs (high, low), compared by high and then by low.

    Radix selection: six passes at most, each with a histogram of 65,536 bins.

    Args:
        blocks: Gives all pairs anew at each call, as arrays uint32 (n,) and uint64 (n,); in any order.
        count: From 1 to the number of pairs.

    Raises:
        ValueError: If there are fewer pairs.
    """
    high, low = _Digits(_HIGH_BITS), _Digits(_LOW_BITS)
    left = count
    while not low.done:
        digits = low if high.done else high
        histogram = np.zeros(2**_DIGIT_BITS, np.int64)
        for highs, lows in blocks():
            rows = high.match(highs)
            if high.done:
                rows &= low.match(lows)
            histogram += np.bincount(digits.next_of((lows if high.done else highs)[rows]), minlength=len(histogram))
        reached = np.cumsum(histogram)
        if not 1 <= left <= reached[-1]:
            raise ValueError(f"there are fewer than {count} values to choose from.")
        digit = int(np.searchsorted(reached, left))
        left -= int(reached[digit] - histogram[digit])
        digits.append(digit)
    return high.value, low.value


class _Digits:
    """The leading digits of a number of ``bits`` bits that are known so far."""

    def __init__(self, bits: int):
        self.shift = bits  # bits not known yet
        self.value = 0

    @property
    def done(self) -> bool:
        return self.shift == 0

    def match(self, numbers: np.ndarray) -> np.ndarray:
        """Which numbers begin with these digits, (n,), bool."""
        if numbers.dtype.itemsize * 8 == self.shift:  # none is known, and such a shift is undefined
            return np.ones(len(numbers), bool)
        return numbers >> numbers.dtype.type(self.shift) == self.value

    def next_of(self, numbers: np.ndarray) -> np.ndarray:
        """The digit after these of each number, (n,), int64."""
        shifted = numbers >> numbers.dtype.type(self.shift - _DIGIT_BITS)
        return (shifted & numbers.dtype.type(2**_DIGIT_BITS - 1)).astype(np.int64)

    def append(self, digit: int) -> None:
        self.value = (self.value << _DIGIT_BITS) | digit
        self.shift -= _DIGIT_BITS
