"""Numbers as people read them, huge ones as well; what a source wrote is shown in one line, and never obeyed."""

import pytest

from lavis_tldr.report import wording
from lavis_tldr.report.wording import entry, printable, quoted, settings, table


@pytest.mark.parametrize(
    ("function", "value", "told"),
    [
        (wording.count, 0, "0"),
        (wording.count, 40_123_456_789, "40,123,456,789"),
        (wording.size, 0, "0 B"),
        (wording.size, 999, "999 B"),
        (wording.size, 1000, "1 kB"),
        (wording.size, 872_675, "873 kB"),
        (wording.size, 999_600, "1 MB"),
        (wording.size, 6_960_000, "6.96 MB"),
        (wording.size, 12_340_000_000_000, "12.3 TB"),
        (wording.size, 5 * 10**18, "5000 PB"),
        (wording.duration, 0.0, "0 ms"),
        (wording.duration, 0.021, "21 ms"),
        (wording.duration, 0.0996, "0.1 s"),
        (wording.duration, 35.969, "36.0 s"),
        (wording.duration, 59.97, "1 min 0 s"),
        (wording.duration, 723, "12 min 3 s"),
        (wording.duration, 3599.7, "1 h 0 min"),
        (wording.duration, 18_720, "5 h 12 min"),
        (wording.duration, 86_399, "1 d 0 h"),
        (wording.duration, 280_000, "3 d 6 h"),  # 77.8 hours
        (wording.rate, 337_256.2, "337,256/s"),
        (wording.rate, 10.0, "10/s"),
        (wording.rate, 2.34, "2.3/s"),
        (wording.rate, 0.05, "3/min"),
        (wording.rate, 0.001, "3.6/h"),
        (wording.rate, 0.0, "0/h"),
        (wording.share, 0.24861, "24.9%"),
        (wording.number, 0.123456, "0.1235"),
        (wording.ordinal, 1, "1st"),
        (wording.ordinal, 2, "2nd"),
        (wording.ordinal, 3, "3rd"),
        (wording.ordinal, 11, "11th"),
        (wording.ordinal, 112, "112th"),
        (wording.ordinal, 1_002, "1,002nd"),
    ],
)
def test_by_hand(function, value, told):
    assert function(value) == told


def test_the_first_place_needs_no_number():
    assert wording.place(1, "nearest") == "nearest"
    assert wording.place(23, "nearest") == "23rd nearest"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve שלום 日本", "naïve שלום 日本"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("a\nb\tc\0d", r"a\nb\tc\x00d"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("abc\u202egpj", r"abc\u202egpj"),
        ("\ud800", r"\ud800"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown


def test_long_text_is_cut_and_says_of_how_many():
    assert printable("x" * 1_048_576, longest=5) == "xxxxx... (1,048,576 characters)"
    assert printable("x" * 5, longest=5) == "xxxxx"
    assert len(quoted("y" * 1_048_576)) < 700


def test_empty_caption_is_told():
    assert quoted("") == "(empty)"
    assert quoted("a dog") == '"a dog"'


def test_entry_wraps_under_its_text(monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    lines = entry("config", ", ".join(f"setting{i} {i}" for i in range(6)))
    assert lines == [
        "  config    setting0 0, setting1 1, setting2 2,",
        "            setting3 3, setting4 4, setting5 5",
    ]
    assert entry("path", "/a" * 40) == ["  path      " + "/a" * 40]  # whole, to be copied
    assert entry("empty", "") == ["  empty"]


def test_settings_by_hand():
    assert settings({"a": True, "b": None, "c": {"d": [1, 2]}, "e": "; ", "f": "x", "g": 0.5}) == (
        'a yes, b none, c {d [1, 2]}, e "; ", f x, g 0.5'
    )
    assert settings({"tars": [f"{i}.tar" for i in range(4000)]}) == (
        "tars [0.tar, 1.tar, 2.tar, 3.tar, ... 4,000 in all]"
    )
    assert settings({"e": "", "c": "a, b", "k": "\x1b"}) == r'e "", c "a, b", k \x1b'


def test_a_table_by_hand():
    assert table(["", "scored", "mean"], [["all", "1,000", "-"], ["kept", "7", ""]]) == [
        "        scored  mean",
        "  all    1,000     -",
        "  kept       7",
    ]
    assert table(["part", "read"], []) == ["  part  read"]
