import math

import numpy as np
import pytest

from lavis_tldr.report.spread import Spread, with_error


def test_by_hand():
    # Squares of 10, 12, 14 about 12: 4 + 0 + 4, over 2.
    assert Spread.of([10.0, 12.0, 14.0]) == Spread(mean=12.0, deviation=2.0, count=3)
    assert Spread.of(value for value in (1, 3)) == Spread(2.0, pytest.approx(math.sqrt(2)), 2)
    assert Spread.of([8.5]) == Spread(8.5, None, 1)


def test_values_of_an_array_are_plain_numbers():
    found = Spread.of(np.array([1.0, 3.0], np.float32))
    assert type(found.mean) is float and type(found.deviation) is float


def test_standard_error_by_hand():
    assert Spread(0.0, 2.0, 4).standard_error() == 1.0  # 2 / sqrt(4)
    assert Spread(0.0, 2.0, 4).standard_error(overlap=2.0) == 3.0  # 2 * sqrt(1/4 + 2)
    assert Spread(0.0, None, 1).standard_error() is None


def test_equal_values_have_no_spread_at_all():
    assert Spread.of([0.1] * 7).deviation == 0.0


def test_shown_with_its_error():
    assert with_error("12.00", 0.456) == "12.00 ± 0.46"
    assert with_error("97.5%", 1.0, ".1f") == "97.5% ± 1.0"
    assert with_error("12.00", 0.0) == "12.00 ± 0.00"
    assert with_error("12.00", None) == "12.00"
