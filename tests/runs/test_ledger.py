import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selecting import select

from lavis_tldr.runs import ledger
from lavis_tldr.runs.ledger import (
    RECORD_COLUMNS,
    check_ledger,
    iter_ledger,
    ledger_of,
    ledger_parts,
    read_ledger,
    write_ledger,
)
from lavis_tldr.runs.outcomes import reasons, summarise

# Of a run without repeats.
SCHEMA = ledger.SCHEMA.remove(ledger.SCHEMA.get_field_index("repeats"))


def row(key, reason="dropped: not drawn", cluster=0, **changes):
    error = reason.removeprefix("failed: ") if reason.startswith("failed: ") else ""
    return {
        "key": key,
        "image_key": key,
        "part": "00000",
        "caption_original": f"original of {key}",
        "error": error,
        "cluster": -1 if error else cluster,
        "distance": float("nan") if error else 0.5,
        "prototype_distance": float("nan") if error else 0.1,
        "alignment": float("nan"),
        "score": float("nan"),
        "kept": reason == "kept",
        "reason": reason,
        "understudy": int(reason.startswith("dropped")),
        "caption_generated": "",
        "caption": f"original of {key}" if reason == "kept" else "",
        "caption_from": "original" if reason == "kept" else "",
        "alignment_generated": float("nan"),
        "alignment_refined": float("nan"),
        "image_path": f"{key}.jpg",
        "image_offset": -1,
        "image_size": -1,
        **changes,
    }


def table(*rows):
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


NUMBERS = [field.name for field in SCHEMA if pa.types.is_floating(field.type)]  # NaN equals nothing

LEDGER = table(
    row("a", "kept", cluster=0),
    row("b", "dropped: near duplicate of a", cluster=0),
    row("c", "failed: empty caption"),
    row("d", "dropped: low alignment", cluster=2),
    row("e", "kept", cluster=0, caption="x", caption_from="generated"),
    row("f", "failed: empty caption"),
    row("g", "failed: unreadable image: truncated"),
    row("h", "dropped: near duplicate of d", cluster=2),
)


# --------------------------------------------------------------------------------------------- round trip


def test_round_trip_sorts_by_key_and_gives_the_same_bytes(tmp_path):
    write_ledger(LEDGER, tmp_path / "one.parquet")
    shuffled = LEDGER.take([3, 1, 7, 0, 5, 2, 6, 4])
    chunked = pa.concat_tables([shuffled.slice(0, 3), shuffled.slice(3)]).select(SCHEMA.names[::-1])
    write_ledger(chunked, tmp_path / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    read = read_ledger(tmp_path / "two.parquet")
    assert read.schema.equals(SCHEMA)
    assert read["key"].to_pylist() == list("abcdefgh")
    assert read.drop_columns(NUMBERS).equals(LEDGER.drop_columns(NUMBERS))
    assert read_ledger(tmp_path / "one.parquet", ["key", "kept"]).column_names == ["key", "kept"]


def test_odd_text_survives(tmp_path):
    odd = "שלום \U0001f408\u200d⬛ \0 \n" + "x" * 1_000_000
    write_ledger(table(row("a", caption_original=odd)), tmp_path / "ledger.parquet")
    assert read_ledger(tmp_path / "ledger.parquet")["caption_original"].to_pylist() == [odd]


def test_an_empty_ledger(tmp_path):
    write_ledger(table(), tmp_path / "ledger.parquet")
    assert read_ledger(tmp_path / "ledger.parquet").num_rows == 0


def test_reading_what_is_no_ledger(tmp_path):
    with pytest.raises(ValueError, match="no ledger at .*name the folder RUN/NAME"):
        read_ledger(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(ValueError, match="text.parquet is no Parquet file"):
        read_ledger(tmp_path / "text.parquet")
    pq.write_table(LEDGER.drop_columns(["kept"]), tmp_path / "old.parquet")
    with pytest.raises(ValueError, match=r"lacks the columns \['kept'\]"):
        read_ledger(tmp_path / "old.parquet")


def test_writing_what_is_no_ledger(tmp_path):
    with pytest.raises(ValueError, match=r"missing here: \['kept'\], unknown: \['keep'\]"):
        names = ["keep" if name == "kept" else name for name in SCHEMA.names]
        write_ledger(LEDGER.rename_columns(names), tmp_path / "ledger.parquet")
    assert not (tmp_path / "ledger.parquet").exists()


# -------------------------------------------------------------------------------------------------- check


def test_a_good_ledger_passes():
    check_ledger(LEDGER, num_read=8)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            row("b", kept=True),
            r"1 ledger rows have a reason that disagrees with its kept flag \(first: key 'b'",
        ),
        (row("b", reason="forgotten"), "not kept, dropped or failed"),
        (row("b") | {"reason": None}, "not kept, dropped or failed"),
        (row("b", "failed: x", error=""), "disagrees with its error"),
        (row("b", "kept", error="x"), "disagrees with its error"),
        (row("b", "failed: x") | {"cluster": 3}, "an error and yet a cluster"),
        (row("b", "kept", caption_from=""), "a caption without origin"),
        (row("a"), r"key 'a' twice \(rows 0 and 1\)"),
        (row(None), "no key in row 1"),
    ],
)
def test_contradictions_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        check_ledger(table(row("a"), bad))


def test_repeats_are_of_kept_samples_alone():
    found = table(row("a", "kept"), row("b"))
    check_ledger(found.append_column("repeats", pa.array([3, 0], pa.int32())))
    for wrong in ([0, 0], [3, 1], [None, 0]):
        with pytest.raises(
            ValueError, match=r"1 ledger rows have repeats that disagree with its kept flag \(first: key"
        ):
            check_ledger(found.append_column("repeats", pa.array(wrong, pa.int32())))


def test_a_lost_record_is_refused():
    with pytest.raises(ValueError, match="9 records were read but the ledger has 8 rows"):
        check_ledger(LEDGER, num_read=9)


# ------------------------------------------------------------------------------------------------ summary


def test_summary_by_hand():
    assert summarise([LEDGER.slice(0, 3), LEDGER.slice(3)], num_clusters=4) == {
        "read": 8,
        "failed": {"empty caption": 2, "unreadable image: truncated": 1},
        "kept": 2,
        "dropped": {"low alignment": 1, "near duplicate": 2},
        "kept_share": 0.25,
        "kept_share_usable": 0.4,
        "caption_from": {"generated": 1, "original": 1},
        # sizes 3, 0, 2, 0
        "cluster_sizes": {"clusters": 4, "empty": 2, "min": 0, "median": 1.0, "max": 3},
    }
    assert summarise([LEDGER])["cluster_sizes"] == {
        "clusters": 2,
        "empty": 0,
        "min": 2,
        "median": 2.5,
        "max": 3,
    }


def test_summary_counts_repeats_where_they_are_told():
    repeats = pa.array([3, 0, 0, 0, 1, 0, 0, 0], pa.int32())
    found = LEDGER.append_column("repeats", repeats)
    assert summarise([found.slice(0, 3), found.slice(3)]) == {**summarise([LEDGER]), "drawn": 4}
    # as parts of a set without are read
    unknown = LEDGER.append_column("repeats", pa.nulls(8, pa.int32()))
    assert summarise([unknown]) == summarise([LEDGER])


def test_summary_of_nothing():
    summary = summarise([table()])
    assert summary["read"] == summary["kept"] == summary["kept_share"] == 0
    assert summary["cluster_sizes"]["max"] == 0


# ------------------------------------------------------------------------------------------------- parts


def test_parts_are_read_one_by_one_and_in_order(tmp_path):
    folder = tmp_path / "ledger"
    folder.mkdir()
    write_ledger(LEDGER.slice(4), folder / "00001.parquet")
    write_ledger(LEDGER.slice(0, 4), folder / "00000.parquet")
    (folder / ".tmp-x-00002.parquet").write_text("left by a killed process")
    for path in (tmp_path, folder):
        assert [part.name for part in ledger_parts(path)] == ["00000.parquet", "00001.parquet"]
        assert read_ledger(path, ["key"])["key"].to_pylist() == list("abcdefgh")
    assert [part["key"].to_pylist() for part in iter_ledger(tmp_path, only_kept=True)] == [["a"], ["e"]]
    assert [part.column_names for part in iter_ledger(tmp_path, ["reason"], only_kept=True)] == [["reason"]] * 2


def test_a_repaired_part_by_hand():
    records = table(row("a"), row("b"), row("c"), row("d", "failed: empty caption"), row("e")).select(RECORD_COLUMNS)
    selection = pa.table(
        {
            "key": ["e", "a", "b", "c"],
            "cluster": pa.array([1, 0, 0, 1], pa.int32()),
            "distance": pa.array([0.1, 0.2, 0.3, 0.4], pa.float32()),
            "prototype_distance": pa.array([0.5, 0.6, 0.7, 0.8], pa.float32()),
            "alignment": pa.array([1, 2, 3, 4], pa.float32()),
            "score": pa.array([1, 2, 3, 4], pa.float32()),
            "filtered": [False, False, False, True],
            "kept": [False, False, True, False],
            "understudy": pa.array([2, 0, 0, 0], pa.int32()),
            "duplicate_of": ["", "", "z", ""],
        }
    )
    refined = pa.table(
        {
            "key": ["b"],
            "caption_generated": ["g"],
            "caption": ["o; g"],
            "caption_from": ["original_generated"],
            "alignment_generated": pa.array([0.75], pa.float32()),
            "alignment_refined": pa.array([0.5], pa.float32()),
        }
    )
    replaced = {"a": "b", "c": ""}
    chosen = {"criterion": "aligned", "prefilter": "gradient"}
    found = ledger_of("00007", records, selection, refined, **chosen, replaced=replaced)
    check_ledger(found, num_read=5)
    assert dict(zip(found["key"].to_pylist(), found["reason"].to_pylist(), strict=True)) == {
        "a": "dropped: image gone missing",
        "b": "kept: stands in for a",
        "c": "dropped: image gone missing",
        "d": "failed: empty caption",
        "e": "dropped: low alignment",
    }
    rows = {entry["key"]: entry for entry in found.to_pylist()}
    assert (rows["d"]["cluster"], rows["d"]["understudy"], rows["d"]["part"]) == (-1, 0, "00007")
    assert (rows["b"]["caption"], rows["e"]["caption"], rows["e"]["understudy"]) == ("o; g", "", 2)
    assert (rows["b"]["alignment_generated"], rows["b"]["alignment_refined"]) == (0.75, 0.5)
    assert np.isnan([rows[key][name] for key in "ae" for name in ("alignment_generated", "alignment_refined")]).all()
    assert [rows[key]["score"] for key in "abce"] == [2, 3, 4, 1] and np.isnan(rows["d"]["score"])
    assert rows["e"]["prototype_distance"] == 0.5
    assert summarise([found])["kept"] == 1
    assert summarise([found])["dropped"] == {"image gone missing": 2, "low alignment": 1}


def test_selection_of_other_records_is_refused():
    records = table(row("a")).select(SCHEMA.names[:2])
    with pytest.raises(ValueError, match="selection has 1 keys absent from encode"):
        ledger_of("0", records, pa.table({"key": ["b"]}), pa.table({"key": []}), criterion="uniform")


# ---------------------------------------------------------------------------------------- select to ledger


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "", "", "empty caption", "missing image"]),
            st.integers(0, 5),
            st.floats(0, 1),
        ),
        max_size=40,
    ),
    st.floats(min_value=0, max_value=1, exclude_min=True),
    st.booleans(),
)
def test_kept_and_dropped_and_failed_are_what_was_read(records, ratio, aligned):
    errors = [error for error, _, _ in records]
    keys = np.array([f"k{i}" for i in range(len(records))], dtype=object)
    clusters = np.array([cluster for _, cluster, _ in records], dtype=np.int32)
    scores = np.array([score for _, _, score in records], dtype=np.float64)
    usable = np.array([error == "" for error in errors], dtype=bool)
    scores = scores if aligned else np.full(len(records), np.nan)
    chosen = select(keys[usable], clusters[usable], ratio, seed=0, score=scores[usable])
    kept = np.zeros(len(records), dtype=bool)
    kept[usable] = chosen
    told = reasons(errors, kept, score=scores, selection="aligned" if aligned else "uniform").to_pylist()
    found = table(
        *(row(key, reason, cluster=int(cluster)) for key, reason, cluster in zip(keys, told, clusters, strict=True))
    )
    check_ledger(found, num_read=len(records))
    summary = summarise([found])
    total = summary["kept"] + sum(summary["dropped"].values()) + sum(summary["failed"].values())
    assert total == summary["read"] == len(records)
    assert sum(summary["failed"].values()) == len(records) - usable.sum()
    assert summary["kept"] == kept.sum()
