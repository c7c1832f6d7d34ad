"""The k-th smallest of more values than fit in memory, in a few passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

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
    of_one = lambda: ((np.zeros(len(highs), np.int64), highs, lows) for highs, lows in blocks())  # noqa: E731
    (high,), (low,) = find_cuts(of_one, np.array([count]), digit_bits=16)
    return int(high), int(low)


def find_cuts(
    blocks: Callable[[], Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]],
    counts: np.ndarray,
    *,
    digit_bits: int = 8,
) -> tuple[np.ndarray, np.ndarray]:
    """Of each of G groups of pairs (high, low) the ``counts``-th smallest, as `find_cut` of one.

    Twelve passes with a histogram of G x 256 bins.

    Args:
        blocks: Gives all pairs anew at each call, as arrays of their group in [0, G), integers (n,), uint32 (n,) and
            uint64 (n,); in any order.
        counts: From 1 to the group's number of pairs, (G,).
        digit_bits: What is found out in a pass: 8, or 16 for few groups, which takes half the passes.

    Returns:
        high (G,), uint32, and low (G,), uint64.

    Raises:
        ValueError: If a group has fewer pairs.
    """
    high, low = (_Digits(bits, digit_bits, len(counts)) for bits in (_HIGH_BITS, _LOW_BITS))
    left = np.array(counts, np.int64)
    num_bins = 2**digit_bits
    while not low.done:
        digits = low if high.done else high
        histogram = np.zeros(len(left) * num_bins, np.int64)
        for groups, highs, lows in blocks():
            rows = high.match(highs, groups)
            if high.done:
                rows &= low.match(lows, groups)
            found = digits.next_of((lows if high.done else highs)[rows])
            histogram += np.bincount(groups[rows] * num_bins + found, minlength=len(histogram))
        reached = np.cumsum(histogram.reshape(-1, num_bins), axis=1)  # (G, bins)
        if (short := (left < 1) | (left > reached[:, -1])).any():
            raise ValueError(f"there are fewer than {counts[short.argmax()]} values to choose from.")
        digit = (reached < left[:, None]).sum(1)
        before = np.concatenate([np.zeros((len(left), 1), np.int64), reached], axis=1)
        left -= before[np.arange(len(left)), digit]
        digits.append(digit)
    return high.values, low.values


class _Digits:
    """The leading digits of a number of ``bits`` bits that are known so far, of each of G groups."""

    def __init__(self, bits: int, digit_bits: int, num_groups: int):
        self.shift = bits  # bits not known yet
        self._digit_bits = digit_bits
        self.values = np.zeros(num_groups, np.dtype(f"u{bits // 8}"))

    @property
    def done(self) -> bool:
        return self.shift == 0

    def match(self, numbers: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Which numbers begin with these digits of their group, (n,), bool."""
        if numbers.dtype.itemsize * 8 == self.shift:  # none is known, and such a shift is undefined
            return np.ones(len(numbers), bool)
        values = self.values if len(self.values) == 1 else self.values[groups]  # one alone needs no lookup
        return numbers >> numbers.dtype.type(self.shift) == values

    def next_of(self, numbers: np.ndarray) -> np.ndarray:
        """The digit after these of each number, (n,), int64."""
        shifted = numbers >> numbers.dtype.type(self.shift - self._digit_bits)
        return (shifted & numbers.dtype.type(2**self._digit_bits - 1)).astype(np.int64)

    def append(self, digits: np.ndarray) -> None:
        kind = self.values.dtype.type
        self.values = (self.values << kind(self._digit_bits)) | digits.astype(kind)
        self.shift -= self._digit_bits
