import pyarrow as pa
import pytest

from lavis_tldr.runs.ledger import join_by_key

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
