import time

from lavis_tldr.sources.keys import KeyRegister


def test_later_ones_are_numbered():
    keys = KeyRegister()
    claims = [keys.claim(key) for key in ("a", "a", "a~3", "b", "a", "a~2")]
    assert claims == [("a", False), ("a~2", True), ("a~3", False), ("b", False), ("a~4", True), ("a~2~2", True)]


def test_a_key_given_very_often():
    keys = KeyRegister()
    start = time.monotonic()
    assert [keys.claim("a")[0] for _ in range(100_000)][-1] == "a~100000"
    assert time.monotonic() - start < 20  # looking from the start each time takes minutes
