"""Lines by a clock that the test turns."""

import logging
import sys

import pytest

from lavis_tldr import progress as module
from lavis_tldr.progress import progress


@pytest.fixture
def turn(monkeypatch):
    """Turn the clock on by some seconds; standard error is no terminal."""
    now = [100.0]

    def turn(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return turn


def told(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "lavis_tldr.progress"]


def test_a_line_every_half_minute_and_one_at_the_end(turn, caplog):
    with caplog.at_level(logging.INFO, "lavis_tldr"):
        for _ in progress(range(10), "encode", "part"):
            turn(12)
    # After 36, 72 and 108 seconds: the first items that end 30 seconds or more after the last line.
    assert told(caplog) == [
        "encode: 3 of 10 parts, 12.0 s each, about 0:01:24 left",
        "encode: 6 of 10 parts, 12.0 s each, about 0:00:48 left",
        "encode: 9 of 10 parts, 12.0 s each, about 0:00:12 left",
        "encode: 10 of 10 parts, 12.0 s each, in 0:02:00",
    ]


def test_many_quick_items(turn, caplog):
    with caplog.at_level(logging.INFO, "lavis_tldr"):
        for _ in progress((i for i in range(6400)), "images", "image", total=6400):
            turn(1 / 128)
    assert told(caplog) == [
        "images: 3,840 of 6,400 images, 128.0 a second, about 0:00:20 left",
        "images: 6,400 of 6,400 images, 128.0 a second, in 0:00:50",
    ]


def test_a_short_loop_says_nothing(turn, caplog):
    with caplog.at_level(logging.INFO, "lavis_tldr"):
        for _ in progress(range(3), "select", "part"):
            turn(3)
    assert told(caplog) == []


def test_items_come_in_order_and_zipped_lengths_are_compared(caplog):
    for level in (logging.INFO, logging.WARNING):
        with caplog.at_level(level, "lavis_tldr"):
            assert list(zip(progress("abc", "x", "y"), [1, 2, 3], strict=True)) == [("a", 1), ("b", 2), ("c", 3)]
            with pytest.raises(ValueError, match="longer"):
                list(zip(progress("abc", "x", "y"), [1, 2, 3, 4], strict=True))


def test_nothing_where_news_are_not_told(turn, caplog, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with caplog.at_level(logging.WARNING, "lavis_tldr"):
        assert list(progress(range(100), "encode", "part")) == list(range(100))
    with caplog.at_level(logging.INFO, "lavis_tldr"):
        assert list(progress([], "encode", "part")) == []
    assert told(caplog) == []


def test_a_bar_on_a_terminal(caplog, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with caplog.at_level(logging.INFO, "lavis_tldr"):
        assert list(progress(range(3), "encode", "part")) == [0, 1, 2]
    assert "encode: 100%" in capsys.readouterr().err
    assert told(caplog) == []
