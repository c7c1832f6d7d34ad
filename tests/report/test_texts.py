"""What a source wrote is shown in one line, and never acts on the terminal."""

import pytest

from lavis_tldr.report.texts import entry, printable, quoted, settings


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
