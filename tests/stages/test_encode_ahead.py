"""Encode reads the next part while one is encoded."""

import threading
from types import SimpleNamespace

import pytest

from lavis_tldr.sources import Part, Record
from lavis_tldr.stages.encode import _read_ahead

PARTS = [Part(i, f"{i:05d}", "") for i in range(4)]


class WatchedSource:
    """Parts of one record each; notes what is read, and where."""

    def __init__(self, broken: str = ""):
        self.broken, self.threads = broken, {}
        self.began = {part.name: threading.Event() for part in PARTS}

    def read(self, part, images=True):
        self.threads[part.name] = threading.get_ident()
        self.began[part.name].set()
        if part.name == self.broken:
            raise ValueError(f"{part.name} has changed")
        yield Record(key=part.name, image_key=part.name, caption="x", image=None, location=None, error="")


def context_of(source):
    return SimpleNamespace(parts=SimpleNamespace(source=source))


def test_parts_come_in_order_and_the_next_is_begun_before_it_is_asked_for():
    source = WatchedSource()
    read = _read_ahead(context_of(source), PARTS)
    for number, part in enumerate(PARTS):
        assert [record.key for record in next(read)] == [part.name]
        if number + 1 < len(PARTS):
            assert source.began[PARTS[number + 1].name].wait(10)
        assert not any(source.began[later.name].is_set() for later in PARTS[number + 2 :])
    assert list(read) == []
    assert threading.get_ident() not in source.threads.values()


def test_a_part_that_cannot_be_read_is_told_in_its_turn():
    read = _read_ahead(context_of(WatchedSource(broken="00001")), PARTS)
    next(read)
    with pytest.raises(ValueError, match="00001 has changed"):
        next(read)


def test_no_parts_are_no_work():
    assert list(_read_ahead(context_of(WatchedSource()), [])) == []
