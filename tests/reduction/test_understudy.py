import pyarrow as pa
import pytest

from lavis_tldr.reduction.understudy import apply, replace_lost

# Understudies of two clusters, in order.
RANKS = {0: ["u1", "u2", "u3"], 1: ["v1"]}


def ranked(clusters, above, up_to):
    """As a ledger would give them: backwards."""
    rows = [(c, rank, key) for c in clusters for rank, key in enumerate(RANKS.get(c, []), 1)]
    return [row for row in rows if above < row[1] <= up_to][::-1]


@pytest.mark.parametrize(
    ("lost", "gone", "replaced", "passed_over"),
    [
        ({"a": 0}, "", {"a": "u1"}, []),
        ({"b": 0, "a": 0, "c": 1}, "", {"a": "u1", "b": "u2", "c": "v1"}, []),
        ({"a": 0}, "u1", {"a": "u2"}, ["u1"]),
        ({"a": 0, "b": 0}, "u1 u2", {"a": "u3", "b": ""}, ["u1", "u2"]),
        ({"a": 1, "b": 1, "c": 0}, "", {"a": "v1", "b": "", "c": "u1"}, []),
        ({"a": 7}, "", {"a": ""}, []),
        ({"a": 0}, "u1 u2 u3", {"a": ""}, ["u1", "u2", "u3"]),
        ({}, "", {}, []),
    ],
)
def test_the_next_of_the_cluster_steps_in(lost, gone, replaced, passed_over):
    found = replace_lost(lost, ranked, lambda key: key not in gone.split())
    assert found == (replaced, passed_over)


def test_ranks_that_stepped_in_before_are_no_end():
    def thinned(clusters, above, up_to):
        return [row for row in ranked(clusters, above, up_to) if row[2] not in ("u1", "u2")]

    assert replace_lost({"x": 0}, thinned, lambda key: True, num_gaps=2) == ({"x": "u3"}, [])


def test_a_selection_with_stand_ins():
    selection = pa.table(
        {
            "key": list("abcd"),
            "kept": [True, True, False, False],
            "understudy": pa.array([0, 0, 1, 2], pa.int32()),
            "cluster": [0, 0, 0, 0],
        }
    )
    # c stood in for a, was lost as well, and d took its place; b is lost for good.
    found = apply(selection, {"a": "c", "c": "d", "b": ""})
    assert found["kept"].to_pylist() == [False, False, False, True]
    assert found["understudy"].to_pylist() == [0, 0, 0, 0]
    assert found.schema == selection.schema
    assert apply(selection, {}).equals(selection)


def test_a_stand_in_is_kept_as_often_as_the_lost_one_was():
    selection = pa.table(
        {
            "key": list("abcd"),
            "kept": [True, True, False, False],
            "understudy": pa.array([0, 0, 1, 2], pa.int32()),
            "repeats": pa.array([3, 2, 0, 0], pa.int32()),
        }
    )
    # c stood in for a, was lost as well, and d took its place; another part's x was kept twice, and b is left alone.
    found = apply(selection, {"a": "c", "c": "d", "x": ""}, {"a": 3, "c": 0, "x": 2})
    assert found["repeats"].to_pylist() == [0, 2, 0, 3]
    assert found.schema == selection.schema
    # One that stands in for a sample of another part.
    found = apply(selection, {"x": "c", "b": "d"}, {"x": 4, "b": 2})
    assert found["repeats"].to_pylist() == [3, 0, 4, 2]
    assert apply(selection, {}, {}).equals(selection)
