from pathlib import Path

import numpy as np
import pytest

from lavis_tldr.runs.manifest import changes, digest_of, normalise


def test_normalise():
    value = {"path": Path("a/b"), "sizes": (1, 2), "ratio": np.float32(0.25), "count": np.int64(3), 4: None}
    assert normalise(value) == {"path": "a/b", "sizes": [1, 2], "ratio": 0.25, "count": 3, "4": None}
    with pytest.raises(ValueError, match="plain JSON only.*set"):
        normalise({"kinds": {1, 2}})


def test_changes_by_hand():
    old = {"select": {"keep_ratio": 0.25, "seed": 0}, "kinds": ["a"], "gone": None, "same": {"x": 1}}
    new = {"select": {"keep_ratio": 0.5, "seed": 0}, "kinds": ["a", "b"], "same": {"x": 1.0}, "empty": {}}
    assert changes(old, new) == [
        "empty: (absent) -> {}",
        "gone: null -> (absent)",
        'kinds: ["a"] -> ["a", "b"]',
        "select.keep_ratio: 0.25 -> 0.5",
    ]


def test_what_is_no_change():
    assert changes({"a": {"b": 1, "c": [2]}}, {"a": {"c": [2], "b": 1}}) == []
    assert changes({"a": float("nan")}, {"a": float("nan")}) == []
    assert changes({"a": 1}, {"a": True}) == ["a: 1 -> true"]


def test_digest_does_not_depend_on_the_order_of_keys():
    assert digest_of({"a": 1, "b": {"c": 2, "d": 3}}) == digest_of({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    assert len(digest_of({})) == 32
