"""The reason of each record, against what is worked out by hand and by a naive loop."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavis_tldr.reduction.criteria import CRITERIA, SELECTIONS
from lavis_tldr.runs.outcomes import reasons


def test_reasons_by_hand():
    assert reasons(
        ["", "", "", "", "empty caption"],
        np.array([True, False, False, False, False]),
        duplicate_of=["", "a", "", "", ""],
        score=np.array([0.9, 0.8, 0.1, np.nan, np.nan]),
        selection="aligned",
    ).to_pylist() == [
        "kept",
        "dropped: near duplicate of a",
        "dropped: low alignment",
        "dropped: not drawn",
        "failed: empty caption",
    ]
    assert reasons(["", ""], np.array([False, True])).to_pylist() == ["dropped: not drawn", "kept"]


def test_a_failed_record_cannot_be_kept():
    with pytest.raises(ValueError, match="kept though it has error 'missing image'"):
        reasons(["", "missing image", "empty caption"], np.array([True, True, True]))
    with pytest.raises(ValueError, match="2 errors, 1 kept flags"):
        reasons(["", ""], np.array([True]))


def test_of_nothing():
    nothing = reasons([], np.zeros(0, bool), replaced={"a": "b"})
    assert (nothing.type, len(nothing)) == (pa.string(), 0)


def naive_reason(row, worse, unfit):
    if row["error"]:
        return "failed: " + row["error"]
    if row["kept"]:
        return "kept"
    if row["filtered"]:
        return "dropped: filtered: " + ("short caption" if row["is_short"] else row["capped"] or unfit)
    if row["capped"]:
        return "dropped: filtered: " + row["capped"]
    if row["duplicate_of"]:
        return "dropped: near duplicate of " + row["duplicate_of"]
    return "dropped: not drawn" if np.isnan(row["score"]) else "dropped: " + worse


def naive_reasons(rows, selection, prefilter, replaced):
    """Record by record, in plain Python."""
    worse, unfit = (CRITERIA[name].shortcoming if name in CRITERIA else "" for name in (selection, prefilter))
    found = [naive_reason(row, worse, unfit) for row in rows]
    stand_ins = {other: lost for lost, other in replaced.items() if other}
    for i, row in enumerate(rows):
        if row["key"] in replaced:
            found[i] = "dropped: image gone missing"
        elif row["key"] in stand_ins:
            found[i] = "kept: stands in for " + stand_ins[row["key"]]
    return found


KEYS = st.sampled_from(["", "a", "b", "00000/c#1", "ph\u202eoto\n\x1b[31m", "\U0001f408", "d" * 300])
ROW = st.fixed_dictionaries(
    {
        "key": KEYS,
        "error": st.sampled_from(["", "", "", "empty caption", "unreadable image: \x1b"]),
        "kept": st.booleans(),
        "duplicate_of": st.one_of(st.just(""), KEYS),
        "score": st.one_of(st.just(float("nan")), st.floats(-1, 1, width=32)),
        "filtered": st.booleans(),
        "is_short": st.booleans(),
        "capped": st.sampled_from(["", "", "concept cap", "no concept"]),
    }
)


@pytest.mark.parametrize("as_arrow", [False, True])
@given(
    st.lists(ROW, max_size=30),
    st.sampled_from(SELECTIONS),
    st.sampled_from(["", *CRITERIA]),
    st.dictionaries(KEYS, KEYS, max_size=4),
)
def test_reasons_against_a_naive_loop(as_arrow, rows, selection, prefilter, replaced):
    columns = {name: [row[name] for row in rows] for name in ("key", "error", "duplicate_of", "capped")}
    if as_arrow:
        half = len(rows) // 2
        columns = {
            name: pa.chunked_array([pa.array(of[:half], pa.string()), pa.array(of[half:], pa.string())])
            for name, of in columns.items()
        }

    def told():
        return reasons(
            columns["error"],
            np.array([row["kept"] for row in rows], bool),
            duplicate_of=columns["duplicate_of"],
            score=np.array([row["score"] for row in rows], np.float32),
            filtered=np.array([row["filtered"] for row in rows], bool),
            is_short=np.array([row["is_short"] for row in rows], bool),
            capped=columns["capped"],
            selection=selection,
            prefilter=prefilter,
            keys=columns["key"],
            replaced=replaced,
        ).to_pylist()

    both = [row["error"] for row in rows if row["error"] and row["kept"]]
    if both:
        with pytest.raises(ValueError) as refused:
            told()
        assert str(refused.value) == f"a record is kept though it has error {both[0]!r}; it can't be both."
    else:
        assert told() == naive_reasons(rows, selection, prefilter, replaced)
