"""Numbers as people read them, huge ones as well."""

import pytest

from lavis_tldr.report import units


@pytest.mark.parametrize(
    ("function", "value", "told"),
    [
        (units.count, 0, "0"),
        (units.count, 40_123_456_789, "40,123,456,789"),
        (units.size, 0, "0 B"),
        (units.size, 999, "999 B"),
        (units.size, 1000, "1 kB"),
        (units.size, 872_675, "873 kB"),
        (units.size, 999_600, "1 MB"),
        (units.size, 6_960_000, "6.96 MB"),
        (units.size, 12_340_000_000_000, "12.3 TB"),
        (units.size, 5 * 10**18, "5000 PB"),
        (units.duration, 0.0, "0 ms"),
        (units.duration, 0.021, "21 ms"),
        (units.duration, 0.0996, "0.1 s"),
        (units.duration, 35.969, "36.0 s"),
        (units.duration, 59.97, "1 min 0 s"),
        (units.duration, 723, "12 min 3 s"),
        (units.duration, 3599.7, "1 h 0 min"),
        (units.duration, 18_720, "5 h 12 min"),
        (units.duration, 86_399, "1 d 0 h"),
        (units.duration, 280_000, "3 d 6 h"),  # 77.8 hours
        (units.rate, 337_256.2, "337,256/s"),
        (units.rate, 10.0, "10/s"),
        (units.rate, 2.34, "2.3/s"),
        (units.rate, 0.05, "3/min"),
        (units.rate, 0.001, "3.6/h"),
        (units.rate, 0.0, "0/h"),
        (units.share, 0.24861, "24.9%"),
        (units.number, 0.123456, "0.1235"),
        (units.ordinal, 1, "1st"),
        (units.ordinal, 2, "2nd"),
        (units.ordinal, 3, "3rd"),
        (units.ordinal, 11, "11th"),
        (units.ordinal, 112, "112th"),
        (units.ordinal, 1_002, "1,002nd"),
    ],
)
def test_by_hand(function, value, told):
    assert function(value) == told


def test_the_first_place_needs_no_number():
    assert units.place(1, "nearest") == "nearest"
    assert units.place(23, "nearest") == "23rd nearest"
