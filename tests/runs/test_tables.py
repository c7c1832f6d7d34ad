import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavis_tldr.runs.tables import join_by_key

LEFT = pa.table({"key": ["c", "a", "b"], "size": [3, 1, 2]})


def test_join_matches_keys_not_rows():
    right = pa.table({"key": ["a", "b", "c"], "caption": ["A", "B", "C"], "codes": [[1], [2], [3]]})
    joined = join_by_key(LEFT, right)
    assert joined.to_pydict() == {
        "key": ["c", "a", "b"],
        "size": [3, 1, 2],
        "caption": ["C", "A", "B"],
        "codes": [[3], [1], [2]],
    }


def test_join_of_chunks_and_other_string_types():
    keys = pa.chunked_array([["b", "c"], ["a"]], pa.large_string())
    right = pa.table({"key": keys, "score": [2.0, 3.0, 1.0]})
    assert join_by_key(LEFT, right)["score"].to_pylist() == [3.0, 1.0, 2.0]


def test_partial_join_leaves_nulls():
    right = pa.table({"key": ["b"], "caption": ["B"]})
    assert join_by_key(LEFT, right, partial=True)["caption"].to_pylist() == [None, None, "B"]


def test_missing_keys_are_named():
    right = pa.table({"key": ["b"], "caption": ["B"]})
    with pytest.raises(ValueError, match=r"ledger has 2 keys absent from captions \(first: 'c'\)"):
        join_by_key(LEFT, right, left_name="ledger", right_name="captions")


@pytest.mark.parametrize("partial", [False, True])
def test_foreign_keys_are_named(partial):
    right = pa.table({"key": ["a", "b", "c", "x"], "caption": list("ABCX")})
    with pytest.raises(ValueError, match=r"right table has 1 keys absent from left table \(first: 'x'\)"):
        join_by_key(LEFT, right, partial=partial)


def test_doubled_and_absent_keys_are_named():
    with pytest.raises(ValueError, match=r"right table has key 'b' twice \(rows 0 and 2\)"):
        join_by_key(LEFT, pa.table({"key": ["b", "a", "b"], "caption": list("BAB")}))
    with pytest.raises(ValueError, match="left table has no key in row 1"):
        join_by_key(pa.table({"key": ["b", None]}), pa.table({"key": ["b"], "caption": ["B"]}))


def test_columns_do_not_overwrite_each_other():
    with pytest.raises(ValueError, match=r"both have \['size'\]"):
        join_by_key(LEFT, LEFT)


def joined_by_hand(left, right, partial):
    """The captions of left's keys, or the first words of the error, by plain loops."""
    for name, keys in (("left table", left), ("right table", right)):
        if None in keys:
            return f"{name} has no key in row {keys.index(None)}"
        for row, key in enumerate(keys):
            if key in keys[:row]:
                return f"{name} has key {key!r} twice (rows {keys.index(key)} and {row})"
    for absent, name, lacker in (
        ([key for key in right if key not in left], "right table", "left table"),
        ([key for key in left if key not in right and not partial], "left table", "right table"),
    ):
        if absent:
            return f"{name} has {len(absent)} keys absent from {lacker} (first: {absent[0]!r})"
    return [right.index(key) if key in right else None for key in left]


KEYS = st.lists(st.sampled_from(["a", "b", "c", "d", "", None]), max_size=5)


@given(KEYS, st.none() | KEYS, st.integers(0, 5), st.booleans())
def test_joins_and_errors_are_those_of_plain_loops(left, other, cut, partial):
    right = left[::-1] if other is None else other  # else hardly any fit together
    chunks = pa.chunked_array([right[:cut], right[cut:]], pa.large_string())
    tables = pa.table({"key": pa.array(left, pa.string())}), pa.table({"key": chunks, "row": np.arange(len(right))})
    expected = joined_by_hand(left, right, partial)
    if isinstance(expected, str):
        with pytest.raises(ValueError) as caught:
            join_by_key(*tables, partial=partial)
        assert str(caught.value).startswith(expected)
    else:
        assert join_by_key(*tables, partial=partial)["row"].to_pylist() == expected


def test_a_join_that_succeeds_reads_its_keys_once(monkeypatch):
    """A million rows are joined as often as a run has stages."""
    monkeypatch.setattr("lavis_tldr.runs.tables.check_keys", lambda *_: pytest.fail("keys were looked at again"))
    monkeypatch.setattr("lavis_tldr.runs.tables._refuse_absent", lambda *_: pytest.fail("keys were looked at again"))
    join_by_key(LEFT, pa.table({"key": ["b", "c", "a"], "caption": list("BCA")}))
    join_by_key(LEFT, pa.table({"key": ["b"], "caption": ["B"]}), partial=True)
